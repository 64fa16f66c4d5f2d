import { expect, onTestFailed, test } from 'vitest'
import { describeOutcome } from './describe.ts'
import { killKinds, makePlan } from './plan.ts'
import { runChaos } from './run.ts'
import { isResult } from './workload.ts'

const LIMIT_MS = 480_000
const seeds = [
  { seed: 1, kills: 13 },
  { seed: 2, kills: 12 },
]

test.each(seeds)(
  '$kills kills lose nothing, repeat nothing unsaid and leave nothing behind (seed $seed)',
  async ({ seed, kills }) => {
    const said: string[] = []
    onTestFailed(() => void process.stderr.write(`script/chaos --kills ${kills} --seed ${seed}\n${said.join('\n')}\n`))
    const plan = makePlan(seed, { kills })
    const outcome = await runChaos(plan, { signal: AbortSignal.timeout(LIMIT_MS), say: (line) => void said.push(line) })
    if (outcome.violations.length > 0) said.push(...describeOutcome(outcome))
    expect(outcome.violations).toEqual([])
    // A run in which nothing was there to be killed, or nothing was done, shows nothing.
    expect(outcome.struck.length).toBeGreaterThan(kills / 2)
    for (const { finalList, effects } of outcome.evidence.sessions) {
      expect(finalList.some(isResult)).toBe(true)
      expect(Object.keys(effects).length).toBeGreaterThan(0)
    }
  },
  LIMIT_MS,
)

test('a seed stands for one plan, with every kind of kill', () => {
  expect(makePlan(7, { kills: 25 })).toEqual(makePlan(7, { kills: 25 }))
  expect(makePlan(7, { kills: 25 })).not.toEqual(makePlan(8, { kills: 25 }))
  expect(new Set(makePlan(7, { kills: 25 }).kills.map(({ kind }) => kind))).toEqual(new Set(killKinds))
})
