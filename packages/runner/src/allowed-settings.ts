import type { SessionConfig } from '@berth/protocol/link'
import { z } from 'zod'

const hook = z.object({ type: z.literal('command'), command: z.string(), timeout: z.number().optional() })
const hooks = z.record(z.string(), z.array(z.object({ matcher: z.string().optional(), hooks: z.array(hook) })))

/** What of a settings file is obeyed. What is not as it should be is left out, each by itself. */
const settings = z.object({
  permissions: z
    .object({ deny: z.array(z.string()) })
    .optional()
    .catch(undefined),
  claudeMdExcludes: z.array(z.string()).optional().catch(undefined),
  attribution: z.object({ commit: z.string().optional(), pr: z.string().optional() }).optional().catch(undefined),
  includeCoAuthoredBy: z.boolean().optional().catch(undefined),
  hooks: hooks.optional().catch(undefined),
})

/**
 * Whether files may have commands run: those of hooks and skills, which pass no gate. Only for an agent that may run any command unasked, has
 * no tool that a person decides on, and none outside of its sandbox whose calls a hook could change.
 */
export function mayRunCommands({ tools, mcp_servers }: SessionConfig): boolean {
  const isFree = tools.some(({ name, policy }) => name === 'Bash' && policy === 'always_allow')
  return isFree && tools.every(({ policy }) => policy !== 'always_ask') && mcp_servers.length === 0
}

/**
 * Of the text of a settings file in the session's workspace, the settings that its CLI is given: text, what forbids, and hooks where commands may
 * be run. Everything else could take the place of what the platform says, or run a program, and so could what a later CLI adds.
 */
export function allowedSettings(text: string, config: SessionConfig): z.infer<typeof settings> {
  const found = settings.safeParse(parsed(text))
  if (!found.success) return {}
  const { hooks: wanted, ...rest } = found.data
  return wanted === undefined || !mayRunCommands(config) ? rest : { ...rest, hooks: inWorkspace(wanted, config.cwd) }
}

/** The CLI takes where its settings are for the project: commands find themselves in the workspace all the same. */
function inWorkspace(wanted: z.infer<typeof hooks>, cwd: string): z.infer<typeof hooks> {
  const place = `'${cwd.replaceAll("'", `'\\''`)}'`
  const placed = (one: z.infer<typeof hook>) => ({
    ...one,
    command: `export CLAUDE_PROJECT_DIR=${place}; cd ${place} || exit\n${one.command}`,
  })
  return Object.fromEntries(
    Object.entries(wanted).map(([event, groups]) => [
      event,
      groups.map((group) => ({ ...group, hooks: group.hooks.map(placed) })),
    ]),
  )
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
