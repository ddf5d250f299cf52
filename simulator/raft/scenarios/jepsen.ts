/**
 * What Jepsen, robustness tests and deterministic simulation found in other systems (J1-J22 of the check-list), as
 * situations. Most need no expectation of their own: the invariants and the histories of clients say what is wrong.
 */
import type { RaftScenario } from '../scenario.ts'
import { DISKS } from './disks.ts'
import { LOGS } from './logs.ts'
import { atEachElection, spares, strikeLeaders } from './strikes.ts'

const MS = 1_000
const SECOND = 1_000_000

/** A network that loses answers. */
const loud = (seed: number): object => ({
  seed,
  network: {
    model: 'datagrams',
    delay: { minUs: MS, meanUs: 5 * MS },
    loss: 0.1,
    duplicate: 0.1,
    replay: 0,
    replayUs: SECOND,
    ordered: false,
  },
})

/** Reads, clocks and clients (J1 to J4, J17, J21, J22). */
const ASKED: readonly RaftScenario[] = [
  {
    name: 'jepsen/stale-read-minority-leader',
    summary: 'J1: a leader that is cut off is asked for what the others have changed meanwhile',
    play(script) {
      script.every(3, 8, 4, () => {
        script.isolate(script.leader().host)
        script.after(5 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'jepsen/readindex-before-noop',
    summary: 'J2: a leader is asked before it has committed an entry of its own term, and is cut off',
    play(script) {
      script.at(1, () =>
        atEachElection(script, 40, (leader) => {
          let answered = false
          leader.read('k0', ({ kind }) => (answered = kind === 'done'))
          script.must(!answered, `${leader.id} answered a read before it knew what was committed`)
          script.isolate(leader.host)
          script.after(2 * SECOND, () => script.cut(undefined))
        }),
      )
      strikeLeaders(script, 6, 6)
    },
  },
  {
    name: 'jepsen/readindex-duplicate-ctx',
    summary: 'J3: acknowledgements of old read positions come again, late, to a leader that is cut off',
    world: () => ({
      network: {
        model: 'datagrams',
        delay: { minUs: MS, meanUs: 5 * MS },
        loss: 0,
        duplicate: 0.3,
        replay: 0.5,
        replayUs: 8 * SECOND,
        ordered: false,
      },
    }),
    play(script) {
      script.every(3, 9, 4, () => {
        const old = script.leader()
        // It still hears what comes late, and is not heard.
        script.cut((from) => from === old.host.number)
        script.every(script.simulation.timeline.nowUs / SECOND + 0.1, 0.3, 15, () => {
          if (old.host.up) old.read('k0', () => {})
        })
        script.after(6 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'jepsen/readindex-dropped-fails-fast',
    summary: 'J4: a read that is under way when the leader dies is refused, it does not hang',
    play(script) {
      script.every(3, 6, 5, () => {
        const [follower] = script.followers()
        const leader = script.leader()
        let heard = false
        follower?.read('k0', () => (heard = true))
        script.crash(leader.host, 2)
        // Its own timeout, at most twice the election timeout, tells it that the leader is gone.
        script.after(3 * script.electionUs, () =>
          script.must(heard, `${follower?.id} neither answered nor refused a read`),
        )
      })
    },
  },
  {
    name: 'jepsen/soak',
    summary: 'J17: kill, pause, partition and members at once, without a rest',
    world: (seed) => ({ ...spares(seed, 7) }),
    play(script) {
      const dice = script.simulation.dice('soak')
      script.every(3, 1, 40, () => {
        const host = dice.pick(script.hosts)
        const what = dice.below(4)
        if (what === 0 && host.up) script.crash(host, 1.5)
        if (what === 1 && host.up && !host.paused) {
          host.pause()
          script.after(1.5 * SECOND, () => host.resume(dice.chance(0.5)))
        }
        if (what === 2) {
          script.isolate(host)
          script.after(1.2 * SECOND, () => script.cut(undefined))
        }
        if (what === 3) script.simulation.strike('change')
      })
    },
  },
  {
    name: 'lease/clock-step',
    summary: 'J21: clocks jump while reads are asked of leaders that are cut off',
    play(script) {
      script.every(3, 6, 5, () => {
        const leader = script.leader()
        script.isolate(leader.host)
        leader.host.wallOffsetMs -= 3_600_000
        for (const { host } of script.followers()) host.jump(300)
        script.after(4 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'lease/suspend-resume',
    summary: 'J21: a leader is suspended, its clock with it, and goes on as if nothing had been',
    play(script) {
      script.every(3, 10, 4, () => {
        const { host } = script.leader()
        host.pause()
        script.after(7 * SECOND, () => host.resume(false))
      })
    },
  },
  {
    name: 'client/retry-across-leader-change',
    summary: 'J22: writes without an answer are asked for again of the next leader, and done once',
    world: (seed) => ({ clients: { thinkUs: 20 * MS, keys: 2, reads: 0.3, retries: true }, ...loud(seed) }),
    play(script) {
      strikeLeaders(script, 3, 12)
    },
  },
]

export const JEPSEN: readonly RaftScenario[] = [...ASKED, ...DISKS, ...LOGS]
