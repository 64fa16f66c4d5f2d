/**
 * Lines of the CLI's transcript about tool calls. The format is the CLI's own and not documented: everything that is known of it is here and
 * in docs/decisions/parked-approvals.md, and a test runs it against the CLI that is pinned.
 */
import { z } from 'zod'
import { toolResult } from './sdk-message.ts'

/** Of the message that makes a call; each block of an answer has its own line. */
const useLine = z.looseObject({
  type: z.literal('assistant'),
  uuid: z.string(),
  message: z.looseObject({
    content: z.array(
      z.union([
        z.looseObject({ type: z.literal('tool_use'), id: z.string(), name: z.string(), input: z.unknown() }),
        z.looseObject({ type: z.string() }).transform(() => null),
      ]),
    ),
  }),
})
/** Also of a message of the SDK that brings results. */
export const resultLine = z.looseObject({
  type: z.literal('user'),
  message: z.looseObject({
    content: z.array(z.union([toolResult, z.looseObject({ type: z.string() }).transform(() => null)])),
  }),
})
const anyLine = z.looseObject({ uuid: z.string().optional(), isSidechain: z.boolean().optional() })
/** What every line of a conversation says alike. */
const common = z.object({
  isSidechain: z.boolean().optional(),
  userType: z.string().optional(),
  entrypoint: z.string().optional(),
  cwd: z.string().optional(),
  sessionId: z.string().optional(),
  version: z.string().optional(),
  gitBranch: z.string().optional(),
})

export interface Use {
  readonly lineUuid: string
  readonly name: string
  readonly input: unknown
  readonly common: z.infer<typeof common>
}

export interface Result {
  readonly content: unknown
  readonly isError: boolean
  /** The CLI's own form of the result, where it has said one. */
  readonly raw?: unknown
}

export interface CallsInTranscript {
  readonly uses: ReadonlyMap<string, Use>
  readonly results: ReadonlyMap<string, Result>
  /** The last line that another can be the child of. */
  readonly last: string | null
}

export interface Stamp {
  readonly uuid: string
  readonly now: string
}

/** May this part of a transcript hold the line of a call? */
export function mayShowCall(text: string): boolean {
  return text.includes('"tool_use"')
}

/** What a transcript says about these calls. */
export function readCalls(text: string, ids: readonly string[]): CallsInTranscript {
  const uses = new Map<string, Use>()
  const results = new Map<string, Result>()
  let last: string | null = null
  for (const row of text.split('\n')) {
    const line = parse(row)
    if (line === undefined || line.isSidechain === true) continue
    last = line.uuid ?? last
    if (!ids.some((id) => row.includes(id))) continue
    const use = useLine.safeParse(line)
    for (const block of use.data?.message.content ?? []) {
      if (block === null || use.data === undefined) continue
      const { id, name, input } = block
      uses.set(id, { lineUuid: use.data.uuid, name, input, common: common.parse(line) })
    }
    for (const block of resultLine.safeParse(line).data?.message.content ?? []) {
      if (block !== null) results.set(block.tool_use_id, { content: block.content, isError: block.is_error ?? false })
    }
  }
  return { uses, results, last }
}

function parse(row: string): z.infer<typeof anyLine> | undefined {
  if (row === '') return undefined
  try {
    return anyLine.safeParse(JSON.parse(row)).data
  } catch {
    return undefined
  }
}

/** The line that gives a call its result: a child of the line that makes the call, as the CLI has it for parallel calls. */
export function toResultLine(use: Use, id: string, result: Result, stamp: Stamp): string {
  const { content, isError, raw } = result
  return toLine({
    parentUuid: use.lineUuid,
    ...use.common,
    type: 'user',
    message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content, is_error: isError }] },
    uuid: stamp.uuid,
    timestamp: stamp.now,
    ...(raw === undefined ? {} : { toolUseResult: raw }),
    sourceToolAssistantUUID: use.lineUuid,
  })
}

/** The line with which the CLI notes that a hook has put a call off: one that reads it as the last thing takes that call up. */
export function toDeferredLine(use: Use, id: string, parentUuid: string | null, stamp: Stamp): string {
  return toLine({
    parentUuid,
    ...use.common,
    type: 'attachment',
    attachment: {
      type: 'hook_deferred_tool',
      toolUseID: id,
      toolName: use.name,
      toolInput: use.input,
      hookName: `PreToolUse:${use.name}`,
      hookEvent: 'PreToolUse',
      permissionMode: 'default',
    },
    uuid: stamp.uuid,
    timestamp: stamp.now,
  })
}

function toLine(line: object): string {
  return `${JSON.stringify(line)}\n`
}
