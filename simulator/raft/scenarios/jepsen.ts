/**
 * What Jepsen, robustness tests and deterministic simulation found in other systems (J1-J22 of the check-list), as
 * situations. Most need no expectation of their own: the invariants and the histories of clients say what is wrong.
 */
import { STUCK_WRITE_MS } from '../../../protocols/limits.ts'
import { STUCK_LOOK_MS } from '../../../protocols/raft/standing-aside.ts'
import type { Member } from '../member.ts'
import type { RaftScenario, Script } from '../scenario.ts'

const MS = 1_000
const SECOND = 1_000_000

/** Runs once for each member that comes to lead after now, at the first instant, for `seconds`. */
function atEachElection(script: Script, seconds: number, run: (leader: Member) => void): void {
  const { timeline } = script.simulation
  const untilUs = timeline.nowUs + seconds * SECOND
  let seen = script.group.elected.length
  const look = (): void => {
    const { elected } = script.group
    for (; seen < elected.length; seen++) {
      const leader = script.group.members.get(elected[seen]?.id ?? '')
      if (leader !== undefined && leader.raft.role === 'leader') run(leader)
    }
    if (timeline.nowUs < untilUs) timeline.after(MS, look)
  }
  look()
}

/** The leader loses power `times` times, `seconds` apart, for less than that. */
function strikeLeaders(script: Script, seconds: number, times: number): void {
  script.every(3, seconds, times, () => {
    const [leader] = script.group.leaders()
    if (leader !== undefined) script.crash(leader.host, seconds / 3)
  })
}

const damageMinority =
  (how: 'flip' | 'cut' | 'misdirect'): RaftScenario['play'] =>
  (script) => {
    script.at(8, () => {
      for (const member of script.followers().slice(0, 2)) {
        member.group.damaged.add(member.id)
        const { name } = member.group
        if (how === 'misdirect') member.host.disk.misdirect(name, name)
        else member.host.disk[how](name)
        script.crash(member.host, 1)
      }
    })
    // Who lost his log has no say: the three that are left are all that count, and they are enough.
    script.at(20, () => {
      const { voters } = script.leader().raft.configuration
      const lost = voters.filter((id) => script.group.members.get(id)?.gone === true)
      script.figure('lost', lost.length)
    })
  }

const slowDisk = { minUs: 5 * MS, meanUs: 150 * MS }

export const JEPSEN: readonly RaftScenario[] = [
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
    name: 'disk/power-loss-unsynced-tail',
    summary: 'J5: all hosts lose power at once, again and again, with writes on their way',
    world: () => ({ disk: slowDisk }),
    play(script) {
      script.every(4, 5, 6, () => {
        for (const host of script.hosts) if (host.up) script.crash(host, 0.5)
      })
    },
  },
  {
    name: 'disk/bitflip-minority',
    summary: 'J6: two of five logs have a flipped bit; what is committed survives, and they have no say',
    play: damageMinority('flip'),
  },
  {
    name: 'disk/truncate-minority',
    summary: 'J6: two of five logs have lost a record',
    play: damageMinority('cut'),
  },
  {
    name: 'disk/misdirected-write-minority',
    summary: 'J6: in two of five logs a record was written over another one',
    play: damageMinority('misdirect'),
  },
  {
    name: 'disk/corrupt-snapshot-meta',
    summary: 'J6: two of five snapshots are damaged',
    world: () => ({
      snapshotEvery: 10,
      bounds: { entriesKept: 0, snapshotPartBytes: 64, maxInflightMsgs: 8 },
    }),
    play: damageMinority('flip'),
  },
  {
    name: 'membership/wiped-node-same-id',
    summary: 'J7: a voter comes back empty under its peer id; nobody counts it as the voter that it was',
    play(script) {
      script.at(6, () => {
        const [wiped] = script.followers() as [Member]
        script.simulation.crash(wiped.host, false)
        wiped.group.lose(wiped)
        script.after(SECOND, () => script.simulation.start(wiped.host))
        script.after(10 * SECOND, () => {
          const again = wiped.host.members.get(wiped.group.name) as Member
          script.must(again.id !== wiped.id, `${again.id} is who it was`)
          script.must(
            !script.leader().raft.configuration.voters.includes(again.id),
            `${again.id} votes without having been added`,
          )
        })
      })
    },
  },
  {
    name: 'membership/reconfig-during-partition',
    summary: 'J8: members are added, removed and replaced on both sides of a partition',
    world: (seed) => ({ ...spares(seed, 7) }),
    play(script) {
      script.every(4, 6, 6, (time) => {
        const leader = script.leader()
        const others = script.followers()
        script.isolate(leader.host, ...others.slice(0, time % 3).map(({ host }) => host))
        const [first] = others as [Member]
        const spare = script.hosts[5 + (time % 2)]
        if (spare === undefined) return
        const joiner = spare.members.get(script.group.name) ?? script.group.join(spare)
        const change = {
          transition: 'implicit' as const,
          changes: [
            { kind: 'add-node' as const, peer: joiner.id },
            { kind: 'remove-node' as const, peer: (time % 2 === 0 ? leader : first).id },
          ],
        }
        for (const member of script.group.leaders()) member.change(change)
        script.after(2 * SECOND, () => {
          for (const member of script.group.leaders()) if (member !== leader) member.change(change)
        })
        script.after(4 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'membership/change-before-noop',
    summary: 'J9: a change that is proposed before the leader has committed an entry of its term is refused',
    play(script) {
      script.at(1, () =>
        atEachElection(script, 40, (leader) => {
          const { log, term } = leader.raft
          if (log.entries[log.commit - log.base.index - 1]?.term === term) return
          let why = ''
          const changes = [{ kind: 'add-learner-node' as const, peer: '9#1' }]
          leader.change({ transition: 'auto', changes }, (answer) => {
            why = answer.kind === 'refused' ? answer.why : answer.kind
          })
          script.must(why === 'no-op', `${leader.id} took a change before its own first entry: ${why}`)
        }),
      )
      strikeLeaders(script, 5, 7)
    },
  },
  {
    name: 'membership/rollback-uncommitted-config',
    summary: 'J10: a change that never was committed goes with its leader, and another takes its place',
    world: (seed) => ({ ...spares(seed, 7) }),
    play(script) {
      script.every(4, 8, 4, () => {
        const old = script.leader()
        const spare = script.hosts[6]
        if (spare === undefined) return
        const joiner = spare.members.get(script.group.name) ?? script.group.join(spare)
        script.isolate(old.host)
        old.change({ transition: 'explicit', changes: [{ kind: 'add-node', peer: joiner.id }] })
        script.whenLed(old, (_, leader) =>
          leader.change({ transition: 'auto', changes: [{ kind: 'add-learner-node', peer: joiner.id }] }),
        )
        script.after(5 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'storage/append-truncate-aba',
    summary: 'J11: entries are replaced while their write is on its way, and come back',
    world: () => ({ disk: slowDisk }),
    play(script) {
      script.every(3, 2.5, 14, () => {
        const [leader] = script.group.leaders()
        if (leader === undefined) return
        script.isolate(leader.host)
        script.after(1.5 * SECOND, () => script.cut(undefined))
      })
    },
  },
  {
    name: 'fsm/crash-between-apply-and-index',
    summary: 'J12: members lose power at every moment around an apply, and come to the same state again',
    world: () => ({ disk: { minUs: MS, meanUs: 20 * MS } }),
    play(script) {
      script.every(3, 0.7, 40, (time) => {
        const host = script.hosts[time % script.hosts.length]
        if (host?.up === true) script.crash(host, 0.4)
      })
    },
  },
  {
    name: 'snapshot/crash-during-compaction',
    summary: 'J13: members lose power while a snapshot takes the place of their log',
    world: () => ({ disk: slowDisk, bounds: { entriesKept: 2, snapshotPartBytes: 64, maxInflightMsgs: 8 } }),
    play(script) {
      script.every(3, 1, 30, (time) => {
        const member = script.group.alive()[time % 5]
        if (member?.host.up !== true) return
        member.compact()
        script.after(((time * 37) % 200) * MS, () => {
          if (member.host.up) script.crash(member.host, 0.5)
        })
      })
    },
  },
  {
    name: 'snapshot/two-in-a-row',
    summary: 'J14: a second snapshot is there before the first is on the follower’s disk',
    world: () => ({ bounds: { entriesKept: 0, snapshotPartBytes: 16, maxInflightMsgs: 8 } }),
    play(script) {
      script.every(3, 7, 6, () => {
        const [behind, heir] = script.followers() as [Member, Member]
        const rates = { ...behind.host.disk.rates }
        script.isolate(behind.host)
        const all = (): void => script.group.alive().forEach((member) => member.host.up && member.compact())
        script.after(2 * SECOND, () => {
          all()
          Object.assign(behind.host.disk.rates, { minUs: 2 * SECOND })
          script.cut(undefined)
        })
        // The leader waits until the first is acknowledged. Another one does not know of it.
        script.after(2.9 * SECOND, () => script.leader().feed({ kind: 'transfer', to: heir.id }))
        script.after(3.2 * SECOND, all)
        script.after(5 * SECOND, () => Object.assign(behind.host.disk.rates, rates))
      })
      script.at(46, () => {
        const { overlaps } = script.group.truth
        script.figure('overlaps', overlaps)
        script.must(overlaps > 0, 'no two snapshots overlapped')
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
    name: 'disk/enospc-one',
    summary: 'J18: the leader’s disk is full: it hands over to one that can write, and the group goes on',
    play(script) {
      script.every(4, 14, 3, () => {
        const full = script.leader()
        const before = script.group.truth.committedTo
        full.host.disk.failing = true
        // Looked at, found out, handed over; then others are asked for what clients could not have.
        const otherUs = STUCK_WRITE_MS * MS + 2 * STUCK_LOOK_MS * MS + script.electionUs
        script.after(otherUs, () =>
          script.must(script.leader() !== full, `${full.id} leads, and cannot write`),
        )
        script.after(otherUs + 2 * SECOND, () => {
          const after = script.group.truth.committedTo
          script.must(after > before + 5, `${after - before} entries while a disk was full`)
        })
        script.after(10 * SECOND, () => (full.host.disk.failing = false))
      })
    },
  },
  {
    name: 'disk/enospc-all',
    summary: 'J18: all disks are full; when there is room again the group goes on',
    play(script) {
      script.at(5, () => {
        for (const { disk } of script.hosts) disk.failing = true
        const before = script.group.truth.committedTo
        script.after(6 * SECOND, () => {
          for (const { disk } of script.hosts) disk.failing = false
        })
        script.after(16 * SECOND, () =>
          script.must(
            script.group.truth.committedTo > before + 5,
            'nothing is committed though there is room',
          ),
        )
      })
    },
  },
  {
    name: 'snapshot/concurrent-with-append',
    summary: 'J19: snapshots are made at every moment while entries are being written',
    world: () => ({
      disk: { minUs: MS, meanUs: 40 * MS },
      snapshotEvery: 3,
      bounds: { entriesKept: 1, snapshotPartBytes: 32, maxInflightMsgs: 4 },
    }),
    play(script) {
      script.every(3, 0.35, 90, (time) => {
        const member = script.group.alive()[time % 5]
        if (member?.host.up === true) member.compact()
      })
      strikeLeaders(script, 9, 4)
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

/** Hosts beyond the voters, for changes to bring in. */
function spares(seed: number, hosts: number): { hosts: number; seed: number } {
  return { hosts, seed }
}

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
