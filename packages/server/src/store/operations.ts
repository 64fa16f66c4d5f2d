/** Every store operation by name. A file of queries adds itself here; nothing else registers anything. */
import * as workspaces from './workspaces.ts'

export const operations = { ...workspaces }
export type Operations = typeof operations
