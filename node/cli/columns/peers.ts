/** How peers, sites and who comes in or goes look as a table. */
import type { Replacement } from '../../binding/replacing.ts'
import type { PeerView, RemovalView, SiteView, TokenView } from '../../views.ts'
import { humanBytes, humanShare, humanTime } from '../human.ts'
import { age, list, mark, rtt, memory, MIB, type View, view } from './column.ts'

const peer: View<PeerView> = {
  name: ({ name, site }) => `${site}/${name}`,
  columns: [
    { key: 'name', value: (v) => v.name, text: (v) => (v.self ? `${v.name}*` : v.name) },
    { key: 'site', value: (v) => v.site },
    { key: 'state', value: (v) => v.state },
    rtt,
    { key: 'cpu', right: true, value: (v) => v.cpuLoad, text: (v) => mark(humanShare(v.cpuLoad), v) },
    { key: 'mem', right: true, value: (v) => v.memoryUsed, text: (v) => mark(humanShare(v.memoryUsed), v) },
    { key: 'vms', right: true, value: (v) => v.vms, text: (v) => mark(String(v.vms), v) },
    { key: 'driver', value: (v) => v.driver },
    age,
    { key: 'id', wide: true, value: (v) => v.id },
    { key: 'connected', wide: true, value: (v) => v.connected, text: (v) => (v.connected ? 'yes' : 'no') },
    { key: 'path', wide: true, value: (v) => v.path, text: (v) => v.path ?? '-' },
    { key: 'cpus', wide: true, right: true, value: (v) => v.cpus },
    { ...memory, wide: true },
    {
      key: 'disk-free',
      wide: true,
      right: true,
      value: (v) => v.diskFreeBytes,
      text: (v) => (v.diskFreeBytes === null ? '-' : humanBytes(v.diskFreeBytes)),
    },
    { key: 'roles', wide: true, value: (v) => list(v.roles) },
    { key: 'draining', wide: true, value: (v) => v.draining, text: (v) => (v.draining ? 'yes' : 'no') },
    { key: 'version', wide: true, value: (v) => v.version },
    { key: 'addresses', wide: true, value: (v) => list(v.addresses) },
  ],
}

/** By kind, as in an envelope. */
export const PEERS: Readonly<Record<string, View>> = {
  peer: view(peer),
  site: view<SiteView>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name, text: (v) => (v.self ? `${v.name}*` : v.name) },
      {
        key: 'peers',
        right: true,
        value: (v) => v.peers,
        text: (v) => mark(`${v.peersAlive} of ${v.peers}`, v),
      },
      {
        key: 'vms',
        right: true,
        value: (v) => v.vms,
        text: (v) => mark(`${v.vmsRunning} of ${v.vms}`, v),
      },
      {
        key: 'committed',
        right: true,
        value: (v) => v.memoryCommittedMiB * MIB,
        text: (v) => mark(humanBytes(v.memoryCommittedMiB * MIB), v),
      },
      memory,
      age,
      { key: 'id', wide: true, value: (v) => v.id },
    ],
  }),
  'peer-replacement': view<Replacement>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'incarnation', value: (v) => v.incarnation },
      { key: 'refused-because', value: (v) => v.why, text: (v) => v.why || 'it is not' },
      { key: 'logs', value: (v) => list(v.groups.map(({ group, fate }) => `${group}: ${fate}`)) },
      { key: 'vms', value: (v) => list(v.vms) },
    ],
  }),
  'peer-removal': view<RemovalView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'orphans', value: (v) => list(v.orphans) },
      { key: 'leaderless', value: (v) => list(v.leaderless) },
      { key: 'id', value: (v) => v.peerId },
    ],
  }),
  token: view<TokenView>({
    name: ({ id }) => id,
    columns: [
      { key: 'id', value: (v) => v.id },
      { key: 'site', value: (v) => v.site, text: (v) => v.site || 'any' },
      { key: 'state', value: (v) => v.state },
      { key: 'expires', value: (v) => v.expiresAt, text: (v, nowMs) => humanTime(v.expiresAt, nowMs) },
      { key: 'used-by', value: (v) => v.usedBy },
      age,
    ],
  }),
  joined: view<{ mesh: string; peer: string; site: string }>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer },
      { key: 'site', value: (v) => v.site },
      { key: 'mesh', value: (v) => v.mesh },
    ],
  }),
}
