/**
 * Links as between sites, as streams: ordered, a loss is a delay. Leaders measure their links and the group agrees on its
 * timing, as in the product. Figures are leaderless times in ms; `--seeds 1000` gives their mean and quantiles.
 */
import type { Delay, NetworkRates } from '../network.ts'
import { Placing } from '../placing.ts'
import type { RaftScenario, Script } from '../scenario.ts'
import { PRODUCT_TIMING, type Setup } from '../setup.ts'

const MS = 1_000
const SECOND = 1_000_000

function streams(delay: Delay, loss = 0): NetworkRates {
  return { model: 'streams', delay, loss, duplicate: 0, replay: 0, replayUs: 0, ordered: true }
}

/** Clients ask seldom: what is measured is the group, not its load. */
const wan = (network: NetworkRates, seconds: number): Partial<Setup> => ({
  network,
  adaptive: true,
  timing: PRODUCT_TIMING,
  disk: { minUs: MS, meanUs: 2 * MS },
  clients: { thinkUs: SECOND, keys: 2, reads: 0.5, retries: true },
  safetyUs: seconds * SECOND,
})

/** One way between two sites, in ms. */
function between(script: Script, ms: (a: number, b: number) => number): void {
  for (const { number: a } of script.hosts) {
    for (const { number: b } of script.hosts) {
      if (a === b) continue
      const oneWay = ms(Math.min(a, b), Math.max(a, b))
      script.simulation.network.link(a, b).delay = { minUs: oneWay * MS, meanUs: 0.05 * oneWay * MS }
    }
  }
}

/** Mean and 99.9th percentile of Ongaro's thesis, chapter 9: servers 30-40 ms apart, timeouts of 300-600 ms. */
const THESIS = { oneFailed: { mean: 475, each: 1_500 }, twoFailed: { mean: 3_000, each: 3_000 } }

/** Times without a leader that none of the others may be longer than, in ms. */
type Most = { readonly mean: number; readonly each: number }

/** From `seconds` on the leader dies, `times` times, and comes back: how long until there is another, each time. */
function failover(script: Script, seconds: number, times: number, most: Most): void {
  const found: number[] = []
  script.every(seconds, 25, times, () => {
    const old = script.leader()
    script.figure(
      'election_timeout_ms',
      old.raft.timing.electionTicks * (script.simulation.setup.tickUs / MS),
    )
    script.crash(old.host, 10)
    script.whenLed(old, (us) => {
      found.push(us / MS)
      script.figure('leaderless_ms', us / MS)
      script.must(us / MS <= most.each, `no leader for ${us / MS} ms`)
    })
  })
  script.at(seconds + 25 * times - 1, () => {
    const mean = found.reduce((sum, ms) => sum + ms, 0) / found.length
    script.must(found.length === times && mean <= most.mean, `${found.length} times, ${mean} ms each`)
  })
}

/** From `from` to `to` at most `most` leaders are elected, and writes go on. */
function steady(script: Script, from: number, to: number, most: number): void {
  let before = 0
  script.at(from, () => (before = script.group.truth.committedTo))
  script.at(to, () => {
    const elected = script.electedSince(from)
    script.figure('elected', elected)
    script.must(elected <= most, `${elected} leaders were elected`)
    script.must(script.group.truth.committedTo > before, 'writes did not go on')
  })
}

/** One way in ms between Europe, North America's east and west, East Asia and Australia (after libp2p's test network). */
const REGIONS = [
  [0, 70, 110, 125, 140],
  [0, 0, 60, 110, 110],
  [0, 0, 0, 90, 90],
  [0, 0, 0, 0, 70],
]

/** One way, between voters of one region and of two. */
const NEAR_MS = 10
const FAR_MS = 80

export const WAN: readonly RaftScenario[] = [
  {
    name: 'wan/us-5',
    summary: 'five voters 30-40 ms apart, the leader dies: how long until there is another (thesis, ch. 9)',
    world: () => wan(streams({ minUs: 30 * MS, meanUs: 0, spreadUs: 10 * MS }), 470),
    play: (script) => failover(script, 240, 9, THESIS.oneFailed),
  },
  {
    name: 'wan/us-5-two-failed',
    summary: 'the same with one voter down before',
    world: () => wan(streams({ minUs: 30 * MS, meanUs: 0, spreadUs: 10 * MS }), 260),
    play(script) {
      script.at(230, () => {
        const [follower] = script.followers()
        if (follower !== undefined) script.crash(follower.host, 60)
      })
      failover(script, 235, 1, THESIS.twoFailed)
    },
  },
  {
    name: 'wan/global-5',
    summary: 'voters in five regions of the world, the leader dies',
    world: () => wan(streams({ minUs: 70 * MS, meanUs: 5 * MS }), 320),
    play(script) {
      between(script, (a, b) => REGIONS[a]?.[b] ?? 100)
      failover(script, 290, 1, { mean: 3_000, each: 3_000 })
    },
  },
  {
    name: 'wan/asymmetric-voter',
    summary:
      'of three voters one is far, then farther; the leader dies, and the two that are left agree soon',
    voters: 3,
    world: () => wan(streams({ minUs: 23 * MS, meanUs: MS }), 280),
    play(script) {
      const far = (ms: number): void => between(script, (_, b) => (b === 2 ? ms : 23))
      far(50)
      script.at(150, () => far(200))
      script.at(240, () => {
        const old = script.leader()
        script.crash(old.host, 60)
        script.whenLed(old, (us) => {
          script.figure('leaderless_ms', us / MS)
          script.must(us < 20 * SECOND, `no leader for ${us / SECOND} s`)
        })
      })
    },
  },
  {
    name: 'wan/flapping-uplink',
    summary: 'a follower’s uplink is up for 5 s and down for 3 s: it unseats nobody',
    world: () => wan(streams({ minUs: 30 * MS, meanUs: 3 * MS }), 240),
    play(script) {
      script.at(139, () => {
        const follower = script.followers()[0]
        if (follower === undefined) return
        for (let time = 0; time < 10; time++) {
          script.at(140 + 8 * time, () => script.isolate(follower.host))
          script.at(143 + 8 * time, () => script.cut(undefined))
        }
      })
      steady(script, 140, 225, 0)
    },
  },
  {
    name: 'wan/loss-5pct-bursty',
    summary: 'losses come in bursts, one packet of twenty in all; leaders stay',
    world: () => wan(streams({ minUs: 40 * MS, meanUs: 4 * MS }), 340),
    play(script) {
      const dice = script.simulation.dice('bursts')
      const { hosts, simulation } = script
      script.every(1, 0.5, 660, () => {
        for (const { number: a } of hosts) {
          for (const { number: b } of hosts) {
            if (a !== b) simulation.network.link(a, b).loss = dice.chance(0.15) ? 0.33 : 0
          }
        }
      })
      steady(script, 200, 330, 2)
    },
  },
  {
    name: 'wan/latency-step',
    summary: 'all links go from 20 to 400 ms one way; the group learns it, and is steady again',
    world: () => wan(streams({ minUs: 20 * MS, meanUs: 2 * MS }), 400),
    play(script) {
      between(script, () => 20)
      script.at(200, () => between(script, () => 400))
      steady(script, 320, 390, 0)
    },
  },
  {
    name: 'wan/leader-follows-quorum',
    summary:
      'three of five voters are near each other, then another three: the lead goes there, once each time',
    world: () => wan(streams({ minUs: FAR_MS * MS, meanUs: MS }), 1_250),
    play(script) {
      const placing = new Placing(script.simulation, script.group)
      const oneWay = (hosts: readonly number[], a: number, b: number): number =>
        hosts.includes(a) && hosts.includes(b) ? NEAR_MS : FAR_MS
      const follows = (hosts: readonly number[], transfers: number): void => {
        const { id, host } = script.leader()
        script.must(hosts.includes(host.number), `${id} leads, the majority is at ${hosts.join(' ')}`)
        const { length } = placing.done
        script.must(length === transfers, `${length} transfers, ${transfers} were due`)
      }
      const first = [0, 1, 2]
      between(script, (a, b) => oneWay(first, a, b))
      // An operator wants it far away, whoever led first.
      script.at(5, () => script.leader().feed({ kind: 'transfer', to: '4#1' }))
      script.at(20, () => script.must(script.leader().id === '4#1', `${script.leader().id} leads`))
      // Five minutes after it began to lead, and not a minute after that.
      script.at(300, () => follows([4], 0))
      script.at(345, () => follows(first, 1))
      script.at(400, () => {
        const { number } = script.leader().host
        const second = [first.find((host) => host !== number) ?? 0, 3, 4]
        between(script, (a, b) => oneWay(second, a, b))
        script.at(590, () => follows([number], 1))
        script.at(650, () => follows(second, 2))
        script.at(1_240, () => {
          follows(second, 2)
          script.must(script.electedSince(20) === 2, `${script.electedSince(20)} leaders were elected`)
          const { fail, info } = script.ended()
          script.must(fail + info === 0, `${fail} operations failed, of ${info} nobody knows`)
        })
      })
    },
  },
  {
    name: 'wan/day-150ms-2pct',
    summary: 'a day at 150 ms round trip and 2 % loss: nobody is unseated',
    isLong: true,
    world: () => ({
      ...wan(streams({ minUs: 75 * MS, meanUs: 3 * MS }, 0.02), 86_400),
      clients: { thinkUs: 30 * SECOND, keys: 2, reads: 0.5, retries: true },
    }),
    play: (script) => steady(script, 10, 86_390, 0),
  },
]
