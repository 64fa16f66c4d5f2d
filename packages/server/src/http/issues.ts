/** What zod found wrong, as one sentence per field: `agents.0.name: …`. */
import { BerthError } from '@berth/protocol'
import type { z } from 'zod'

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]

const MAX_ISSUES = 5
const MAX_KEYS = 5
const MAX_KEY_LENGTH = 100

export function toInvalidRequest(issues: readonly Issue[], whole: string): BerthError {
  const sentences = issues.flatMap((issue) => describe(issue, [], whole))
  const shown = sentences.slice(0, MAX_ISSUES)
  const more = sentences.length > MAX_ISSUES ? `; and ${sentences.length - MAX_ISSUES} more` : ''
  const ofMetadata = issues.every((issue) => issue.path[0] === 'metadata')
  const details = ofMetadata ? { details: { error_code: 'invalid_metadata' } } : {}
  return new BerthError('invalid_request', shown.join('; ') + more, details)
}

function describe(issue: Issue, parent: Path, whole: string): string[] {
  const path = [...parent, ...issue.path]
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys
        .slice(0, MAX_KEYS)
        .map((key) => `${fieldName([...path, key.slice(0, MAX_KEY_LENGTH)], whole)}: unknown field`)
    case 'invalid_union': {
      const branch = closestBranch(issue.errors)
      if (branch !== undefined) return branch.flatMap((inner) => describe(inner, path, whole))
      break
    }
    case 'invalid_key':
      return [`${fieldName(path, whole)}: invalid key: ${issue.issues.map((inner) => inner.message).join(', ')}`]
    case 'invalid_type':
      if (issue.input === undefined && issue.message.endsWith('received undefined')) {
        return [`${fieldName(path, whole)}: is required`]
      }
      break
    case 'too_big':
    case 'too_small':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'invalid_element':
    case 'invalid_value':
    case 'custom':
    default:
  }
  return [`${fieldName(path, whole)}: ${issue.message}`]
}

/** Of a union's branches, the one whose kind fits and that fails inside: its complaint is what the caller can use. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = branches.filter((issues) => !issues.some(isOfAnotherKind))
  return fitting.length === 1 ? fitting[0] : undefined
}

function isOfAnotherKind(issue: Issue): boolean {
  return issue.path.length === 0 && issue.code === 'invalid_type'
}

function fieldName(path: Path, whole: string): string {
  return path.length === 0 ? whole : path.map((key) => String(key).slice(0, MAX_KEY_LENGTH)).join('.')
}
