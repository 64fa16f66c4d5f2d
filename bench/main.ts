/** `node bench/main.ts [names…] [--rounds n] [--json file]`: runs the named benches, or all, and prints a table. */
import { writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { benches } from './benches/index.ts'
import type { Figure } from './measure.ts'
import { table } from './table.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    json: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})
if (values.list) {
  for (const { name, about } of benches) console.log(`${name.padEnd(14)}${about}`)
  process.exit()
}
const unknown = positionals.find((name) => !benches.some((bench) => bench.name === name))
const rounds = Number(values.rounds)
if (unknown !== undefined || !Number.isInteger(rounds) || rounds < 1) {
  console.error(unknown === undefined ? '--rounds needs a whole number' : `no bench ${unknown}; see --list`)
  process.exit(2)
}

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cpus: cpus().length,
  memory_gib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
}
const figures: Figure[] = []
for (const bench of benches.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  stop.signal.throwIfAborted()
  console.error(`${bench.name}: ${bench.about}`)
  figures.push(...(await bench.run({ rounds, signal: stop.signal, say: (line) => console.error(`  ${line}`) })))
}
console.log(table(figures))
if (values.json !== undefined)
  await writeFile(values.json, `${JSON.stringify({ machine, rounds, figures }, null, 1)}\n`)
process.exit()
