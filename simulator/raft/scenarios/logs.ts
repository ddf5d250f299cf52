/** Members that change, and logs that are replaced, applied and made snapshots of at the worst moment (J7 to J14, J19). */
import type { Member } from '../member.ts'
import type { RaftScenario } from '../scenario.ts'
import { atEachElection, SLOW_DISK, spares, strikeLeaders } from './strikes.ts'

const MS = 1_000
const SECOND = 1_000_000

export const LOGS: readonly RaftScenario[] = [
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
    world: () => ({ disk: SLOW_DISK }),
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
    world: () => ({ disk: SLOW_DISK, bounds: { entriesKept: 2, snapshotPartBytes: 64, maxInflightMsgs: 8 } }),
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
]
