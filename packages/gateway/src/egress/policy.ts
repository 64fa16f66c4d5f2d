import type { EgressPolicy } from '@berth/protocol/gateway'

export interface Target {
  /** In its canonical form. */
  readonly host: string
  readonly port: number
}

export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: 'host' | 'port' }

export type Rule = (target: Target) => Verdict

/** What programs that are no web server listen on is below it. */
const FIRST_FREE_PORT = 1024
const WEB_PORTS: ReadonlySet<number> = new Set([80, 443])

/**
 * The one rule by which a session may leave. `limited`: to the hosts that are named, and to those below a `*.` (not to the name behind
 * it), on 80 and 443. `unrestricted`: to any host, on 80, 443 and from 1024 on. Pure; addresses are another rule's business.
 */
export function compilePolicy(policy: EgressPolicy): Rule {
  return policy.type === 'limited' ? onlyTo(policy.hosts) : toAnyHost
}

/** The same for servers of which host and port are named: the hosts alone decide. */
export function hostRule(policy: EgressPolicy): Rule {
  const rule = compilePolicy(policy)
  return ({ host }) => rule({ host, port: 443 })
}

function onlyTo(hosts: readonly string[]): Rule {
  const exact = new Set(hosts.filter((pattern) => !pattern.startsWith('*.')))
  const suffixes = new Set(hosts.filter((pattern) => pattern.startsWith('*.')).map((pattern) => pattern.slice(2)))
  return ({ host, port }) => {
    if (!exact.has(host) && !parentsOf(host).some((parent) => suffixes.has(parent))) return deny('host')
    return WEB_PORTS.has(port) ? allow : deny('port')
  }
}

function toAnyHost({ port }: Target): Verdict {
  return WEB_PORTS.has(port) || port >= FIRST_FREE_PORT ? allow : deny('port')
}

const allow: Verdict = { allowed: true }

function deny(reason: 'host' | 'port'): Verdict {
  return { allowed: false, reason }
}

/** `a.b.example`: `b.example`, `example`. */
function parentsOf(host: string): string[] {
  const labels = host.split('.')
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join('.'))
}
