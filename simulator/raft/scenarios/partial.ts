/**
 * Partial partitions, pauses and clocks: what made others thrash for hours (Cloudflare, 2020-11-02). With PreVote and
 * CheckQuorum a leader that a majority hears stays, and one that it does not hear makes room once.
 */
import type { RaftScenario, Script } from '../scenario.ts'

const SECOND = 1_000_000
const FROM = 5
const UNTIL = 45

/** Cuts at FROM, mends at UNTIL; in between at most `changes` leaders are elected, and writes go on. */
function cutOff(
  script: Script,
  changes: number,
  isCut: (script: Script) => (from: number, to: number) => boolean,
): void {
  let before = 0
  script.at(FROM, () => {
    before = script.group.truth.committedTo
    script.cut(isCut(script))
  })
  script.at(UNTIL, () => {
    const elected = script.electedSince(FROM)
    script.figure('elected', elected)
    script.must(elected <= changes, `${elected} leaders were elected while links were cut`)
    script.must(script.group.truth.committedTo > before + 20, 'writes did not go on')
    script.cut(undefined)
  })
}

const pair =
  (a: number, b: number) =>
  (from: number, to: number): boolean =>
    (from === a && to === b) || (from === b && to === a)

export const PARTIAL: readonly RaftScenario[] = [
  {
    name: 'partial/one-link-down-3',
    summary: 'of three voters, one does not hear the leader, and hears the third',
    voters: 3,
    play(script) {
      cutOff(script, 0, () => {
        const [follower] = script.followers()
        return pair(script.leader().host.number, follower?.host.number ?? -1)
      })
    },
  },
  {
    name: 'partial/bridge-node-5',
    summary: 'two pairs do not hear each other; one voter hears both',
    play(script) {
      cutOff(script, 1, () => {
        const side = (host: number): number => (host < 2 ? 0 : host > 2 ? 2 : 1)
        return (from, to) => Math.abs(side(from) - side(to)) === 2
      })
    },
  },
  {
    name: 'partial/one-way',
    summary: 'a follower does not hear the leader, which hears it',
    play(script) {
      cutOff(script, 0, () => {
        const [leader, deaf] = [script.leader().host.number, script.followers()[0]?.host.number]
        return (from, to) => from === leader && to === deaf
      })
    },
  },
  {
    name: 'partial/deaf-leader',
    summary: 'a leader is heard by all and hears nobody: it makes room',
    play(script) {
      cutOff(script, 2, () => {
        const leader = script.leader().host.number
        return (_, to) => to === leader
      })
    },
  },
  {
    name: 'partial/majority-ring',
    summary: 'five voters in a ring, each hears its two neighbours only',
    play(script) {
      cutOff(script, 2, () => (from, to) => {
        const apart = Math.abs(from - to)
        return apart === 2 || apart === 3
      })
    },
  },
  {
    name: 'pause/leader-30s-then-resume',
    summary: 'a leader stands still for 30 s and finds another when it goes on',
    play(script) {
      script.at(FROM, () => {
        const old = script.leader()
        old.host.pause()
        script.after(30 * SECOND, () => old.host.resume(true))
        script.after(35 * SECOND, () => {
          script.must(old.raft.role !== 'leader', `${old.id} still leads`)
          script.must(script.electedSince(FROM) === 1, `${script.electedSince(FROM)} leaders were elected`)
        })
      })
    },
  },
  {
    name: 'clock/skew-2pct',
    summary: 'clocks run up to 2 % fast or slow; nobody is unseated by that',
    play(script) {
      script.at(1, () => {
        for (const [n, host] of script.hosts.entries()) host.setRate(0.98 + 0.01 * n)
      })
      script.at(UNTIL, () => script.must(script.electedSince(FROM) === 0, 'a leader was unseated'))
    },
  },
  {
    name: 'clock/step-back-1h',
    summary: 'wall clocks are set back by an hour; agreed time does not go back, nobody is unseated',
    play(script) {
      script.every(FROM, 8, 4, (time) => {
        const host = script.hosts[time]
        if (host !== undefined) host.wallOffsetMs -= 3_600_000
      })
      let clockMs = 0
      script.every(FROM, 1, 35, () => {
        const now = script.leader().state.clockMs
        script.must(now >= clockMs, `agreed time went from ${clockMs} to ${now}`)
        clockMs = now
      })
      script.at(UNTIL, () => script.must(script.electedSince(FROM) === 0, 'a leader was unseated'))
    },
  },
]
