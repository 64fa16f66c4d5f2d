/**
 * The link: what runner and server say to each other over one WebSocket.
 *
 * The runner dials the server (a unix socket bound into its sandbox, or a URL), says `hello`, and gets `welcome` or a close code.
 * From then on each side sends `frame`s. Frames are numbered from 1, per session and direction, for the life of the sandbox; a side
 * keeps a frame until the other acknowledges it, and acknowledged means committed. After a reconnect each side replays what the
 * other has not received (`welcome.sessions` and `hello.sessions` say how far that is) and drops duplicates by number.
 * `delta`s are not numbered, never replayed, and may be dropped under load.
 */
import { z } from 'zod'
import { dial } from './channel.ts'
import { ownDirs } from './own-dirs.ts'
import { newlySeenTools, seenTools } from './seen-tools.ts'

export { HEARTBEAT_MS, LINK_PROTOCOL, linkClose, runnerEnv } from './link-constants.ts'

const seq = z.int().nonnegative()

/** How far a side has come with one session: the highest frame number it has received (server: committed). */
const progress = z.object({ session_id: z.string(), received: seq })

export const permissionPolicy = z.enum(['always_allow', 'always_ask', 'deny'])
export type LinkPermissionPolicy = z.infer<typeof permissionPolicy>

const settingSource = z.enum(['project', 'local'])

const mcpServer = {
  /** By which the model knows it, in `mcp__{name}__{tool}`: letters, digits, _ and -. */
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  tools: z.array(z.object({ name: z.string(), policy: permissionPolicy })),
  other_tools: permissionPolicy,
}

/** What the runner needs to know to run one session's CLI. Sent whole; a later `open` replaces it from the next turn on. */
export const sessionConfig = z.object({
  /** UUID by which the CLI names the conversation. */
  sdk_session_id: z.uuid(),
  /** true: a transcript of this id exists in the config dir; continue it. */
  resume: z.boolean(),
  /** uid and gid inside the sandbox under which the CLI and everything it starts run. Never 0. */
  uid: z.int().min(1),
  cwd: z.string(),
  home: z.string(),
  own_dirs: ownDirs,
  model: z.string(),
  effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullable(),
  system: z.string().nullable(),
  /** CLI tool names that exist for this session; each with what happens when the model calls it. */
  tools: z.array(z.object({ name: z.string(), policy: permissionPolicy })),
  /** Tools that the client answers. Offered to the model as MCP tools of the server `custom`. */
  custom_tools: z.array(
    z.object({ name: z.string(), description: z.string(), input_schema: z.record(z.string(), z.unknown()) }),
  ),
  /**
   * MCP servers. Tools that are not listed are as `other_tools` says. `remote`: reached by the runner over `mcp_socket`, at `/{name}`;
   * `stdio`: a program of the sandbox, run under the session's uid.
   */
  mcp_servers: z.array(
    z.discriminatedUnion('type', [
      z.object({
        type: z.literal('remote'),
        ...mcpServer,
        /** Follows from where the server is, and is all that the runner knows of that. */
        place: z.string(),
      }),
      z.object({
        type: z.literal('stdio'),
        ...mcpServer,
        command: z.string(),
        args: z.array(z.string()),
        env: z.record(z.string(), z.string()),
      }),
    ]),
  ),
  /** Unix socket of the gateway that leads to remote MCP servers, as seen in the sandbox. Only the runner can open it. */
  mcp_socket: z.string().optional(),
  /** Unix socket of the model gateway, as seen in the sandbox. */
  model_socket: z.string(),
  /**
   * The session's way out; absent: it has none. The runner makes it a proxy on the sandbox's loopback and says so in the CLI's environment.
   * The password is good for this socket alone, which only the runner can open.
   */
  egress: z.object({ socket: z.string(), credential: z.string() }).optional(),
  /** Whose files in `cwd` configure the CLI, in the Agent SDK's words; absent: nobody's. Of settings, what weakens no policy. */
  setting_sources: z.array(settingSource).optional(),
  /** Model requests in one turn; null: any number. */
  max_turns: z.int().min(1).nullable(),
  /** How often the CLI repeats a failed model request. */
  max_retries: z.int().min(0).max(10),
  /** Further variables for the CLI's environment. Nothing secret: tools inherit them. */
  env: z.record(z.string(), z.string()),
})
export type SessionConfig = z.infer<typeof sessionConfig>

/** What the server knows of the tools of the config's remote MCP servers. It binds a server of which the runner has seen nothing yet. */
const knownTools = z.array(seenTools)

const contentBlocks = z.array(z.record(z.string(), z.unknown()))

/** Server → runner. */
export const command = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('open'),
    config: sessionConfig,
    /** How many bytes of each transcript file the server has: what comes after is to be reported. */
    transcripts: z.record(z.string(), seq),
    seen_tools: knownTools,
  }),
  /**
   * Part of a transcript file, to be put in its place before the CLI starts: `start` 0 begins the file anew, each further part goes to the
   * end of the one before. `path` is relative to the CLI's config directory in `home`, which belongs to `uid`.
   */
  z.object({
    type: z.literal('restore'),
    home: z.string(),
    uid: z.int().min(1),
    own_dirs: ownDirs,
    path: z.string(),
    start: seq,
    text: z.string(),
    /** Where the file has at least this many bytes already, it keeps these and loses what was said behind them and their last call. */
    unless_bytes: seq.optional(),
  }),
  /** One user message. `uuid` identifies it in the transcript; `content` are Messages API content blocks. */
  z.object({ type: z.literal('input'), uuid: z.uuid(), content: contentBlocks }),
  z.object({ type: z.literal('interrupt') }),
  /**
   * Carries out calls that a CLI held which is gone, one after the other, each once and under its own id, without a model request. The
   * conversation's transcript is in its place and ends with the message that makes them; `line` behind it makes a CLI take up the call. The
   * transcript is of no use afterwards: it is to be restored before the next `open`.
   */
  z.object({
    type: z.literal('run_calls'),
    config: sessionConfig,
    seen_tools: knownTools,
    calls: z.array(
      z.object({
        tool_use_id: z.string(),
        line: z.string(),
        /** Of a tool of a remote MCP server: its digest when the call was made. The call gets an error in place of a result if it is another now. */
        digest: z.string().nullable(),
      }),
    ),
  }),
  /** The answer to a held call (policy `always_ask`). May come before the CLI has asked. */
  z.object({
    type: z.literal('verdict'),
    tool_use_id: z.string(),
    behavior: z.enum(['allow', 'deny']),
    message: z.string().nullable(),
  }),
  /** The client's result of a custom tool call. */
  z.object({
    type: z.literal('custom_result'),
    tool_use_id: z.string(),
    content: contentBlocks,
    is_error: z.boolean(),
  }),
  /** End the CLI and everything it left running. The runner stays. */
  z.object({ type: z.literal('close') }),
])
export type Command = z.infer<typeof command>

/** Runner → server. */
export const report = z.discriminatedUnion('type', [
  /** A message of the Agent SDK, unabridged. Partial messages (`stream_event`) travel as deltas instead. */
  z.object({ type: z.literal('message'), message: z.record(z.string(), z.unknown()) }),
  /** A model request of the main conversation began or ended, as seen in the message stream. */
  z.object({
    type: z.literal('model_request'),
    phase: z.enum(['start', 'end']),
    message_id: z.string(),
    model: z.string(),
    /** Messages API `usage` as it stood at the end; null at the start or when the request was cut. */
    usage: z.record(z.string(), z.unknown()).nullable(),
    stop_reason: z.string().nullable(),
  }),
  /**
   * A tool is about to start and waits. With policy `always_allow` it starts once this frame is acknowledged; with `always_ask`
   * once a `verdict` is there; with `deny` never. Custom tools wait for their `custom_result`.
   */
  z.object({
    type: z.literal('tool_call'),
    tool_use_id: z.string(),
    name: z.string(),
    input: z.record(z.string(), z.unknown()),
    policy: permissionPolicy,
    /** Set when a subagent makes the call. */
    agent_id: z.string().nullable(),
  }),
  /** A call that needed an answer, or was held by a CLI that is gone, starts once this frame is acknowledged. */
  z.object({ type: z.literal('call_begins'), tool_use_id: z.string() }),
  /**
   * Whole lines of a transcript file, `length` bytes from byte `start` on; `path` as in `restore`. A turn's last lines come before the message that says
   * that the CLI is idle, and before `exited`.
   */
  z.object({ type: z.literal('transcript'), path: z.string(), start: seq, length: seq, text: z.string() }),
  /**
   * A remote MCP server is not there, or not as it was. Nothing waits for it. `server`: its name on the link. Once per server and turn;
   * of what is found in its list of tools (`tools`), a few times.
   */
  z.object({
    type: z.literal('mcp_failure'),
    server: z.string(),
    kind: z.enum(['connection', 'authentication', 'tools']),
    /** Printable, at most 1,000 characters. */
    detail: z.string(),
  }),
  /**
   * Tools of a remote MCP server that were not seen before, or are withheld from now on. Comes before everything that follows from their being
   * offered, so that no call is known of whose tool is not.
   */
  z.object({ type: z.literal('seen_tools'), ...newlySeenTools }),
  /** The CLI is up and has taken its configuration. */
  z.object({ type: z.literal('started'), pid: z.int(), cli_version: z.string() }),
  /** The CLI is gone: on `close`, by itself, or because it could not start. A later `input` starts it again and resumes. */
  z.object({
    type: z.literal('exited'),
    reason: z.enum(['closed', 'crashed', 'start_failed']),
    exit_code: z.int().nullable(),
    signal: z.string().nullable(),
    /** Last lines of stderr or the error's text; at most 4 KiB. */
    detail: z.string(),
  }),
  /** A command could not be carried out, for a reason that is the command's own (an image that is no image, no open session). */
  z.object({ type: z.literal('refused'), command: z.string(), detail: z.string() }),
])
export type Report = z.infer<typeof report>

export const runnerHello = z.object({
  type: z.literal('hello'),
  protocol: z.int(),
  sandbox_id: z.string(),
  /** Secret of this launch: proves that the peer is the runner of this sandbox and not of an earlier one. */
  nonce: z.string(),
  /** Highest epoch this runner has been welcomed with; 0 at first. A server whose lease is older hangs up, and gives the sandbox up. */
  epoch: z.int().nonnegative(),
  sessions: z.array(progress),
})
export const serverWelcome = z.object({
  type: z.literal('welcome'),
  protocol: z.int(),
  /** Of the lease under which the server acts for the sandbox's session. A runner refuses one older than it has seen. */
  epoch: z.int().nonnegative(),
  sessions: z.array(progress),
})

const ack = z.object({ type: z.literal('ack'), session_id: z.string(), seq })
const ping = z.object({ type: z.literal('ping'), n: z.int() })
const pong = z.object({ type: z.literal('pong'), n: z.int() })

/** Everything a server may receive. */
export const fromRunner = z.discriminatedUnion('type', [
  runnerHello,
  z.object({ type: z.literal('frame'), session_id: z.string(), seq, body: report }),
  /** One raw `stream_event` of the Agent SDK. Keeps its place among the frames of the same connection. */
  z.object({ type: z.literal('delta'), session_id: z.string(), message: z.record(z.string(), z.unknown()) }),
  ack,
  ping,
  pong,
])
export type FromRunner = z.infer<typeof fromRunner>

/** Everything a runner may receive. */
export const fromServer = z.discriminatedUnion('type', [
  serverWelcome,
  z.object({ type: z.literal('frame'), session_id: z.string(), seq, body: command }),
  dial,
  ack,
  ping,
  pong,
])
export type FromServer = z.infer<typeof fromServer>
