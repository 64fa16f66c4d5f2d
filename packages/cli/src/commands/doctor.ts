import type { Finding } from '@berth/sandbox'
import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { examine } from '../examine.ts'
import { exit } from '../exit.ts'
import { jsonLine } from '../json-line.ts'
import { neutraliseLine } from '../neutralise.ts'
import { Screen, type Style } from '../screen.ts'
import { addServeOptions, type ServeOptions, serveConfig } from '../serve-config.ts'
import type { StartConfig } from '../start.ts'

type DoctorOptions = ServeOptions & { readonly json?: boolean; readonly security?: boolean }

const labels: Record<Finding['level'], { text: string; style: Style }> = {
  ok: { text: 'ok', style: 'green' },
  warn: { text: 'warn', style: 'yellow' },
  fail: { text: 'FAIL', style: 'red' },
}

export function addDoctor(program: Command, context: Context): void {
  addServeOptions(program.command('doctor'))
    .description('examine this machine, and say what to do where something is missing')
    .option('--security', 'say instead how well this machine and this installation are secured')
    .option('--json', 'one finding per line as JSON')
    .action((_options: DoctorOptions, command: Command) => doctor(command.optsWithGlobals<DoctorOptions>(), context))
}

async function doctor(options: DoctorOptions, context: Context): Promise<void> {
  const findings = await findingsOf(serveConfig(options, context), options.security === true)
  using screen = Screen.of(context)
  const width = Math.max(...findings.map(({ what }) => what.length))
  for (const finding of findings)
    screen.line(options.json === true ? jsonLine(finding) : render(finding, screen, width))
  context.setExitCode(findings.some(({ level }) => level === 'fail') ? exit.failure : exit.ok)
}

async function findingsOf(config: StartConfig, isAboutSecurity: boolean): Promise<Finding[]> {
  if (isAboutSecurity) {
    const { securityFindings } = await import('../posture/security-findings.ts')
    return securityFindings(config)
  }
  const { driverFindings } = await import('../driver-findings.ts')
  return [...(await examine(config)), ...(await driverFindings(config))]
}

function render({ level, what, detail, remedy }: Finding, screen: Screen, width: number): string {
  const { text, style } = labels[level]
  const found = `${screen.paint(style, text.padEnd(4))}  ${what.padEnd(width)}  ${neutraliseLine(detail)}`
  return remedy === undefined ? found : `${found}\n${' '.repeat(width + 8)}→ ${neutraliseLine(remedy)}`
}
