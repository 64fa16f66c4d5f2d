/** `node test/chaos/main.ts [--kills n] [--seed n] [--evidence file]`: rounds of kills; a round that fails names the seed that repeats it. */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { describeOutcome } from './describe.ts'
import { makePlan } from './plan.ts'
import { runChaos } from './run.ts'

/** A round has a Berth of its own: short enough to be repeated, long enough for kills to meet what kills before them left. */
const KILLS_PER_ROUND = 25

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: String(KILLS_PER_ROUND) },
    seed: { type: 'string', default: '1' },
    evidence: { type: 'string' },
  },
})
const kills = Number(values.kills)
const seed = Number(values.seed)
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
  console.error('--kills needs a whole number from 1, --seed a whole number')
  process.exit(2)
}

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())
process.once('SIGTERM', () => stop.abort())
const failed: number[] = []
let struck = 0

/** Answers whether the promises held. */
async function runRound(round: number, count: number): Promise<boolean> {
  console.log(`seed ${round}`)
  const plan = makePlan(round, { kills: count })
  const outcome = await runChaos(plan, { signal: stop.signal, say: (line) => console.log(`  ${line}`) })
  struck += outcome.struck.length
  if (outcome.violations.length > 0) for (const line of describeOutcome(outcome)) console.log(`  VIOLATION ${line}`)
  if (values.evidence !== undefined) {
    await writeFile(`${values.evidence}.${round}.json`, JSON.stringify(outcome.evidence, null, 1))
    await writeFile(`${values.evidence}.${round}.log`, outcome.log)
  }
  return outcome.violations.length === 0
}

for (let done = 0, round = seed; done < kills && !stop.signal.aborted; done += KILLS_PER_ROUND, round++) {
  const count = Math.min(KILLS_PER_ROUND, kills - done)
  const held = await runRound(round, count).catch((error: unknown) => {
    console.log(`  FAILED`, error)
    return false
  })
  if (held) continue
  failed.push(round)
  console.log(`  to repeat it: script/chaos --kills ${count} --seed ${round}`)
}
console.log(
  `${struck} of ${kills} kills struck; ${failed.length === 0 ? 'no violation' : `failed: ${failed.join(', ')}`}`,
)
process.exit(failed.length === 0 && !stop.signal.aborted ? 0 : 1)
