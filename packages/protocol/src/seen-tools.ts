/** What was first seen of the tools of remote MCP servers: kept with the session, for it outlives the runners that see it. */
import { z } from 'zod'

/** How many tools of one server are kept, whatever they are called one after the other. */
export const MAX_SEEN_TOOLS = 1_024
/** How many of one server are told of at a time. */
export const MAX_TOOLS = 512

const seenTool = z.object({
  /** As the server has it. */
  name: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  /** sha-256 of its definition as the model was first told it, base64url. */
  digest: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  /** It was another one later: it is not offered any more. */
  is_withheld: z.boolean(),
})
export type SeenTool = z.infer<typeof seenTool>

/** Of one server at one place. What was seen of another, or elsewhere, does not bind it. */
const ofServer = {
  /** Its name on the link. */
  server: z.string().max(64),
  place: z.string().max(64),
}

/** All that is known of a server. */
export const seenTools = z.object({ ...ofServer, tools: z.array(seenTool).max(MAX_SEEN_TOOLS) })
export type SeenTools = z.infer<typeof seenTools>

/** What is new of it. */
export const newlySeenTools = { ...ofServer, tools: z.array(seenTool).min(1).max(MAX_TOOLS) }
