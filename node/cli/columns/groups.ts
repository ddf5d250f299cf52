/** How Raft groups look as a table, and how a peer stands in its own: `raft …` and `status`. */
import { printGeneration } from '../../../protocols/epoch.ts'
import type { Begun } from '../../offline.ts'
import type { GroupView, HealthView, SnapshotView, StatusView, TransferView } from '../../views.ts'
import { humanAge, humanBytes, humanDuration } from '../human.ts'
import { age, list, mark, type View, view } from './column.ts'

/**
 * What an operator looks for first when something is wrong: who leads, or who is missed, and whether the log can be written
 * (which an older peer does not say).
 */
function stateOfGroup({ ageMs, group, leader, missing, role, unwritable }: GroupView): string {
  const led = leader === '' ? `led by nobody for ${humanDuration(ageMs)}` : `led by ${leader}`
  const missed = missing.length === 0 ? '' : `, out of sight: ${missing.join(' ')}`
  return `${group} ${role}, ${led}${missed}${unwritable ? `, CANNOT WRITE: ${unwritable}` : ''}`
}

/** By kind, as in an envelope. */
export const GROUPS: Readonly<Record<string, View>> = {
  status: view<StatusView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'site', value: (v) => v.site },
      { key: 'ready', value: (v) => v.ready, text: (v) => (v.ready ? 'yes' : 'no') },
      { key: 'removed', value: (v) => v.removed, text: (v) => v.removed || 'no' },
      { key: 'peers', value: (v) => v.peers, text: (v) => `${v.peersAlive} of ${v.peers} alive` },
      { key: 'vms', value: (v) => v.vms, text: (v) => `${v.vmsRunning} of ${v.vms} running` },
      { key: 'jobs', value: (v) => v.jobsRunning, text: (v) => `${v.jobsRunning} running` },
      {
        key: 'images',
        value: (v) => v.room.usedBytes,
        text: ({ room: { usedBytes, keptBytes, quotaBytes } }) => {
          const kept = keptBytes > 0 ? `, ${humanBytes(keptBytes)} of it kept copies` : ''
          const quota = quotaBytes === null ? 'no quota' : `a quota of ${humanBytes(quotaBytes)}`
          return `${humanBytes(usedBytes)} of ${quota}${kept}`
        },
      },
      { key: 'cut-off-from', value: (v) => list(v.cutOffFrom), text: (v) => list(v.cutOffFrom) || 'nobody' },
      {
        key: 'groups',
        value: (v) => list(v.groups.map(({ group, role }) => `${group}:${role}`)),
        text: (v) => v.groups.map(stateOfGroup).join('; '),
      },
      {
        key: 'damaged-logs',
        value: (v) => list(v.groups.filter(({ damaged }) => damaged !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ damaged }) => damaged !== '')
            .map(({ group, damaged }) => `${group}: ${damaged}`)
            .join('; ') || 'none',
      },
      {
        key: 'halted-groups',
        value: (v) => list(v.groups.filter(({ halted }) => halted !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ halted }) => halted !== '')
            .map(({ halted }) => halted)
            .join('; ') || 'none',
      },
      {
        key: 'rivals',
        value: (v) => list(v.groups.filter(({ rivals }) => rivals !== '').map(({ group }) => group)),
        text: (v) =>
          v.groups
            .filter(({ rivals }) => rivals !== '')
            .map(({ group, rivals }) => `${group}: ${rivals}`)
            .join('; ') || 'none',
      },
      {
        key: 'data-folder',
        value: (v) => v.folder.state,
        text: (v) => (v.folder.why === '' ? v.folder.state : `${v.folder.state}: ${v.folder.why}`),
      },
      { key: 'driver', value: (v) => v.driver },
      { key: 'http', value: (v) => v.http, text: (v) => v.http || 'off' },
      { key: 'up-for', value: (v) => v.uptimeMs, text: (v) => humanDuration(v.uptimeMs) },
      { key: 'version', value: (v) => v.version },
      { key: 'mesh', value: (v) => v.mesh },
      { key: 'id', value: (v) => v.peerId },
    ],
  }),
  group: view<GroupView>({
    name: ({ group }) => group,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'role', value: (v) => v.role },
      { key: 'term', right: true, value: (v) => v.term },
      { key: 'leader', value: (v) => v.leader, text: (v) => mark(v.leader || 'none', v) },
      { key: 'voters', value: (v) => list(v.voters) },
      { key: 'learners', value: (v) => list(v.learners) },
      { key: 'commit', right: true, value: (v) => v.commit },
      { key: 'applied', right: true, value: (v) => v.applied },
      { key: 'lag', right: true, value: (v) => v.lag },
      age,
      { key: 'source', wide: true, value: (v) => v.source },
      { key: 'missing', wide: true, value: (v) => list(v.missing) },
      {
        key: 'generation',
        wide: true,
        right: true,
        value: (v) => v.generation,
        text: (v) => printGeneration(v.generation),
      },
      { key: 'rivals', wide: true, value: (v) => v.rivals },
      { key: 'last', wide: true, right: true, value: (v) => v.lastIndex },
      { key: 'snapshot', wide: true, right: true, value: (v) => v.snapshotIndex },
      { key: 'level', wide: true, right: true, value: (v) => v.level },
      { key: 'halted', wide: true, value: (v) => v.halted },
    ],
  }),
  'raft-health': view<HealthView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'kind', value: (v) => v.kind },
      { key: 'role', value: (v) => v.role },
      { key: 'verdict', value: (v) => v.verdict },
      { key: 'match', right: true, value: (v) => v.match },
      { key: 'lag', right: true, value: (v) => v.lag },
      {
        key: 'contact',
        right: true,
        value: (v) => v.lastContactMs,
        text: (v) => (v.lastContactMs === null ? 'never' : humanAge(v.lastContactMs)),
      },
      {
        key: 'rtt',
        right: true,
        value: (v) => v.rttMs,
        text: (v) => (v.rttMs === null ? '-' : `${v.rttMs.toFixed(1)} ms`),
      },
      age,
      { key: 'group', wide: true, value: (v) => v.group },
      { key: 'reachable', wide: true, value: (v) => v.reachable, text: (v) => (v.reachable ? 'yes' : 'no') },
      { key: 'member', wide: true, value: (v) => v.member },
    ],
  }),
  'raft-transfer': view<TransferView>({
    name: ({ to }) => to,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'from', value: (v) => v.from },
      { key: 'to', value: (v) => v.to },
      { key: 'term', value: (v) => v.term },
    ],
  }),
  'raft-snapshot': view<SnapshotView>({
    name: ({ path }) => path,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'index', value: (v) => v.index },
      { key: 'term', value: (v) => v.term },
      { key: 'generation', value: (v) => v.generation, text: (v) => printGeneration(v.generation) },
      { key: 'voters', value: (v) => list(v.voters) },
      { key: 'bytes', value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'path', value: (v) => v.path },
    ],
  }),
  'raft-generation': view<Begun>({
    name: ({ group }) => group,
    columns: [
      { key: 'group', value: (v) => v.group },
      { key: 'generation', value: (v) => v.generation, text: (v) => v.generationName },
      { key: 'index', value: (v) => v.index },
      { key: 'voter', value: (v) => v.peer },
      { key: 'lost', value: (v) => list(v.lost) },
    ],
  }),
}
