/**
 * Of a body that its reader does not take, beside what one read of a connection brings. Each of these bytes can be a chunk of its own, and a
 * chunk weighs some hundred.
 */
export const UNREAD_BYTES = 4 * 1024
