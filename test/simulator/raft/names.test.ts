/**
 * The scenarios that have to be there, by their names: those of the check-list that tier A is held against (its lists S-wan
 * and S-jepsen). A name that is lost, or changed, is a situation that nobody looks at any more.
 */
import test from 'ava'
import { SIMULATIONS } from '../../../simulator/planted/planted.ts'
import { SCENARIOS } from '../../../simulator/raft/scenarios.ts'

const NAMED = [
  // S-wan
  'wan/us-5',
  'wan/global-5',
  'wan/asymmetric-voter',
  'wan/flapping-uplink',
  'wan/loss-5pct-bursty',
  'wan/latency-step',
  'wan/leader-follows-quorum',
  'wan/day-150ms-2pct',
  'partial/one-link-down-3',
  'partial/bridge-node-5',
  'partial/one-way',
  'partial/majority-ring',
  'pause/leader-30s-then-resume',
  'clock/skew-2pct',
  'clock/step-back-1h',
  // S-jepsen, J1 to J22
  'jepsen/stale-read-minority-leader',
  'jepsen/readindex-before-noop',
  'jepsen/readindex-duplicate-ctx',
  'jepsen/readindex-dropped-fails-fast',
  'disk/power-loss-unsynced-tail',
  'disk/bitflip-minority',
  'disk/truncate-minority',
  'disk/corrupt-snapshot-meta',
  'membership/wiped-node-same-id',
  'membership/reconfig-during-partition',
  'membership/change-before-noop',
  'membership/rollback-uncommitted-config',
  'storage/append-truncate-aba',
  'fsm/crash-between-apply-and-index',
  'snapshot/crash-during-compaction',
  'snapshot/two-in-a-row',
  'disk/enospc-one',
  'disk/enospc-all',
  'snapshot/concurrent-with-append',
  'lease/clock-step',
  'lease/suspend-resume',
  'client/retry-across-leader-change',
]

/** Of whole peers, or of those who follow a log from outside: another simulation looks for them all the time. */
const ELSEWHERE: Readonly<Record<string, keyof typeof SIMULATIONS>> = {
  'watch/compaction-boundary': 'follow',
  'watch/monotone-unique-resumable': 'follow',
  'lease/pause-holder-then-resume': 'mesh',
}

const names = new Set(SCENARIOS.map(({ name }) => name))

for (const name of NAMED) test(`${name} is there`, (t) => t.true(names.has(name)))

for (const [name, by] of Object.entries(ELSEWHERE)) {
  test(`${name} is not here: simulate -- ${by} looks for it`, (t) => {
    t.false(names.has(name))
    t.true(by in SIMULATIONS)
  })
}
