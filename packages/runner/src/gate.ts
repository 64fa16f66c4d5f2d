import type { HookInput, PreToolUseHookInput, SyncHookJSONOutput } from '@anthropic-ai/claude-agent-sdk'
import type { Report, SessionConfig } from '@berth/protocol/link'
import { setImmediate as afterMessages } from 'node:timers/promises'
import { z } from 'zod'
import { Answers } from './answers.ts'
import { policyOf } from './tool-policies.ts'

export interface Verdict {
  readonly behavior: 'allow' | 'deny'
  readonly message: string | null
}

export interface GateOptions {
  /** Sends a report; answers its number. */
  readonly report: (body: Report) => number
  /** Resolves when that report is committed. */
  readonly acknowledged: (seq: number, signal: AbortSignal) => Promise<void>
  /** Resolves when the present input's line is reported: no effect of a turn of which the server could think that it was never begun. */
  readonly taken: (signal: AbortSignal) => Promise<void>
  /** Is the turn to end? Then nothing begins any more. */
  readonly isStopping: () => boolean
}

const toolInput = z.record(z.string(), z.unknown())

/**
 * Decides every tool call of one session: nothing starts before the server has committed that it is about to, and what the policy
 * says. Whatever goes wrong denies.
 */
export class Gate {
  readonly verdicts = new Answers<Verdict>()
  readonly #options: GateOptions
  #config: SessionConfig | undefined
  readonly #allowed = new Set<string>()

  constructor(options: GateOptions) {
    this.#options = options
  }

  /** Takes the policies of a config. Calls of tools that it does not name are denied. */
  configure(config: SessionConfig): void {
    this.#config = config
    this.#allowed.clear()
  }

  /** True for a call that the hook has allowed. */
  hasAllowed(toolUseId: string): boolean {
    return this.#allowed.has(toolUseId)
  }

  /** The `PreToolUse` hook. Waits as long as the answer takes; the signal says that nobody needs it any more. Never throws. */
  async decide(input: HookInput, signal: AbortSignal): Promise<SyncHookJSONOutput> {
    try {
      if (input.hook_event_name !== 'PreToolUse') return {}
      const verdict = await this.#verdict(input, signal)
      if (verdict.behavior === 'allow') this.#allowed.add(input.tool_use_id)
      return decision(verdict)
    } catch (error) {
      return decision({ behavior: 'deny', message: signal.aborted ? INTERRUPTED : `not allowed: ${String(error)}` })
    }
  }

  async #verdict(input: PreToolUseHookInput, signal: AbortSignal): Promise<Verdict> {
    const policy = this.#config === undefined ? 'deny' : policyOf(this.#config, input.tool_name)
    // The SDK runs hooks ahead of the messages it has read before them: let the call's own message be reported first.
    await afterMessages()
    await this.#options.taken(signal)
    signal.throwIfAborted()
    if (this.#options.isStopping()) return { behavior: 'deny', message: INTERRUPTED }
    // The session shows no calls of subagents, so that nobody could answer.
    if (policy === 'always_ask' && input.agent_id !== undefined) return { behavior: 'deny', message: UNASKED }
    const seq = this.#options.report({
      type: 'tool_call',
      tool_use_id: input.tool_use_id,
      name: input.tool_name,
      input: toolInput.parse(input.tool_input),
      policy,
      agent_id: input.agent_id ?? null,
    })
    await this.#options.acknowledged(seq, signal)
    if (policy === 'always_ask') return this.#ask(input.tool_use_id, signal)
    if (policy === 'always_allow') return { behavior: 'allow', message: null }
    return { behavior: 'deny', message: `The tool ${input.tool_name} is not allowed in this session.` }
  }

  /** A call with a yes is begun only when that is committed: should the CLI be lost, it is certain whether the call may be made again. */
  async #ask(toolUseId: string, signal: AbortSignal): Promise<Verdict> {
    const verdict = await this.verdicts.take(toolUseId, signal)
    if (verdict.behavior === 'allow') {
      await this.#options.acknowledged(this.#options.report({ type: 'call_begins', tool_use_id: toolUseId }), signal)
    }
    return verdict
  }
}

/** What the model reads in place of the result of a call that an interrupt kept from starting. */
export const INTERRUPTED = 'The turn was interrupted before this call was answered. It was not carried out.'

const UNASKED = 'This tool needs an approval, for which a subagent cannot ask. Let the main agent call it.'

function decision({ behavior, message }: Verdict): SyncHookJSONOutput {
  const permissionDecisionReason = message ?? (behavior === 'deny' ? 'The user has denied this call.' : undefined)
  return {
    hookSpecificOutput: {
      hookEventName: 'PreToolUse',
      permissionDecision: behavior,
      ...(permissionDecisionReason === undefined ? {} : { permissionDecisionReason }),
    },
  }
}
