/** From a further message of a live session to the first text at the client. */
import { startBerthFor, userMessage } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { type Bench, interleave } from '../measure.ts'
import { startModel } from '../model.ts'
import { Watcher } from '../turns.ts'

const PROMPT = 'Go on.\n::text Here I am again.'

export const secondTurn: Bench = {
  name: 'second-turn',
  about: 'message to a live session → first text; floor: the same with a live bare query()',
  run: async ({ rounds }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    await using bare = await openBareSession(model.ready.url)
    const id = await berth.createSession(PROMPT)
    using watcher = await Watcher.open(berth.client, id)
    await watcher.turn()
    await bare.turn(PROMPT)
    const measured = {
      berth: [] as number[],
      floor: [] as number[],
      berthEnd: [] as number[],
      floorEnd: [] as number[],
    }
    await interleave(rounds * 4, [
      async () => {
        const began = performance.now()
        const [turn] = await Promise.all([
          watcher.turn(),
          berth.client.beta.sessions.events.send(id, { events: [userMessage(PROMPT)] }),
        ])
        measured.berth.push(turn.firstText - began)
        measured.berthEnd.push(turn.idle - began)
      },
      async () => {
        const began = performance.now()
        const turn = await bare.turn(PROMPT)
        measured.floor.push(turn.firstText - began)
        measured.floorEnd.push(turn.idle - began)
      },
    ])
    await berth.removeSession(id)
    return [
      { what: 'second-turn', unit: 'ms', berth: measured.berth, floor: measured.floor },
      { what: 'second-turn: → turn over', unit: 'ms', berth: measured.berthEnd, floor: measured.floorEnd },
    ]
  },
}
