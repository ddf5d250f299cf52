/** Disks that lose, damage or refuse what is written (J5, J6, J18 of the check-list). */
import { STUCK_WRITE_MS } from '../../../protocols/limits.ts'
import { STUCK_LOOK_MS } from '../../../protocols/raft/standing-aside.ts'
import type { RaftScenario } from '../scenario.ts'
import { SLOW_DISK } from './strikes.ts'

const MS = 1_000
const SECOND = 1_000_000

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

export const DISKS: readonly RaftScenario[] = [
  {
    name: 'disk/power-loss-unsynced-tail',
    summary: 'J5: all hosts lose power at once, again and again, with writes on their way',
    world: () => ({ disk: SLOW_DISK }),
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
]
