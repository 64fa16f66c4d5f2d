import type { Finding } from './driver.ts'

export function ok(what: string, detail: string): Finding {
  return { level: 'ok', what, detail }
}

export function warn(what: string, detail: string, remedy: string): Finding {
  return { level: 'warn', what, detail, remedy }
}

export function fail(what: string, detail: string, remedy: string): Finding {
  return { level: 'fail', what, detail, remedy }
}
