import { createInterface } from 'node:readline'
import type { Anthropic } from '@anthropic-ai/sdk'
import type { Input, Output } from './context.ts'
import { inputOf } from './entry.ts'
import type { StreamEvent } from './follow.ts'
import { neutraliseLine } from './neutralise.ts'

type Confirmation = Anthropic.Beta.Sessions.BetaManagedAgentsUserToolConfirmationEventParams
export type Call = Extract<StreamEvent, { type: 'agent.tool_use' | 'agent.mcp_tool_use' | 'agent.custom_tool_use' }>

export function isCall(event: StreamEvent): event is Call {
  return (
    event.type === 'agent.tool_use' || event.type === 'agent.mcp_tool_use' || event.type === 'agent.custom_tool_use'
  )
}

export interface Asking {
  readonly input: Input
  readonly output: Output
  readonly signal: AbortSignal
  /** Ctrl-C at the question. */
  readonly onInterrupt: () => void
}

/** Asks for each call in turn; everything but `y` or `yes` denies it. Undefined when the input ends or the signal fires. */
export async function confirmCalls(calls: readonly Call[], asking: Asking): Promise<Confirmation[] | undefined> {
  const confirmations: Confirmation[] = []
  for (const call of calls) {
    const answer = await question(describe(call), asking)
    if (answer === undefined) return undefined
    const result = /^y(es)?$/i.test(answer.trim()) ? 'allow' : 'deny'
    confirmations.push({ type: 'user.tool_confirmation', tool_use_id: call.id, result })
  }
  return confirmations
}

/** The whole input on one line: an approval is for exactly what is shown, and nothing in it can look like another question. */
export function describe(call: Call): string {
  const whole = JSON.stringify(call.input)
  const short = inputOf(call.input)
  const fields = Object.keys(call.input).length
  return `Allow ${neutraliseLine(call.name)}: ${neutraliseLine(fields === 1 ? short : whole)} [y/N] `
}

function question(text: string, { input, output, signal, onInterrupt }: Asking): Promise<string | undefined> {
  return new Promise((resolve) => {
    const lines = createInterface({ input, output, terminal: true })
    const stop = (): void => lines.close()
    const settle = (answer: string | undefined): void => {
      resolve(answer)
      signal.removeEventListener('abort', stop)
      lines.close()
    }
    lines.on('SIGINT', () => {
      onInterrupt()
      settle(undefined)
    })
    lines.once('close', () => settle(undefined))
    signal.addEventListener('abort', stop)
    if (signal.aborted) lines.close()
    else lines.question(text, settle)
  })
}
