/**
 * The lab's network as a value: namespaces, addresses, and the shell lines that make them. Every peer has a namespace;
 * every site has a router's, with the bridge that is its LAN. Two sites are joined by one WAN link between their routers,
 * more by a star of links to one more router, the core, or to none where one process makes all the links.
 *
 *   quay ─eth0──lan0─┐                                       ┌─lan0──eth0─ mast
 *                    ├ br0 harbour's router ─wan0═══wan0─ hill's router br0 ┤
 *   mole ─eth0──lan1─┘   10.99.1.1                  10.99.2.1
 */
import assert from 'node:assert/strict'

export type Site = { readonly name: string; readonly peers: readonly string[] }
export type End = { readonly namespace: string; readonly device: string; readonly address: string }
export type Wire = {
  readonly near: End
  /** Undefined where the links of a star meet in the process that makes them. */
  readonly far: End | undefined
  /** Of the addresses behind the near end: three numbers. */
  readonly prefix: string
}

export type Topology = {
  readonly namespaces: readonly string[]
  /** Keyed by `site/peer`. */
  readonly peers: ReadonlyMap<string, { readonly namespace: string; readonly address: string }>
  readonly wires: readonly Wire[]
  /** The wire that each site has to the rest of the world, and whether the site is at its far end. */
  readonly uplinks: ReadonlyMap<string, { readonly wire: Wire; readonly far: boolean }>
  /** Namespaces and LANs: to be run before the wires are there. */
  readonly before: readonly string[]
  /** Addresses and routes of the wires. */
  readonly after: readonly string[]
}

/** One /30 each out of 10.99.0.0/24 would do for 64; so many routers are more than two cores carry anyway. */
const SITES_MAX = 32
/** 10.99.x.10 and on. */
const PEERS_MAX = 200
/** Names become part of file names under /var/run/netns and of shell lines. */
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/

export type Tcp = {
  /** Congestion control of every route; the kernel must have it. */
  readonly congestion: string
  /** Whether TCP may hand the kernel more than one packet at a time: faster, and wrong where packets are counted. */
  readonly offload: boolean
}

/** `core`: whether a star has a router in its middle. */
export function plan(prefix: string, sites: readonly Site[], tcp: Tcp, core = true): Topology {
  check(sites)
  const router = (site: Site): string => `${prefix}-${site.name}`
  const peers = sites.flatMap((site, x) =>
    site.peers.map((name, y) => ({
      key: `${site.name}/${name}`,
      namespace: `${router(site)}.${name}`,
      address: `10.99.${x + 1}.${y + 10}`,
      lines: lan({ router: router(site), peer: `${router(site)}.${name}`, x: x + 1, y, tcp }),
    })),
  )
  const star = sites.length > 2
  const routers = [...sites.map(router), ...(star && core ? [prefix] : [])]
  const wires = sites.slice(star ? 0 : 1).map((site, i): Wire => ({
    near: {
      namespace: router(star ? site : (sites[0] as Site)),
      device: 'wan0',
      address: `10.99.0.${4 * i + 1}`,
    },
    far:
      star && !core
        ? undefined
        : {
            namespace: star ? prefix : router(site),
            device: `wan${star ? i : 0}`,
            address: `10.99.0.${4 * i + 2}`,
          },
    prefix: `10.99.${i + 1}`,
  }))
  return {
    namespaces: [...routers, ...peers.map(({ namespace }) => namespace)],
    peers: new Map(peers.map(({ key, namespace, address }) => [key, { namespace, address }])),
    wires,
    uplinks: new Map(
      wires.length === 0
        ? []
        : sites.map(({ name }, x) => [name, { wire: wires[star ? x : 0] as Wire, far: !star && x === 1 }]),
    ),
    before: [
      ...routers.flatMap(routing),
      ...sites.flatMap((site, x) => bridge(router(site), x + 1)),
      ...peers.flatMap(({ lines }) => lines),
    ],
    after: wires.flatMap(({ near, far, prefix: behind }) => [
      ...[near, far].flatMap((end) => (end === undefined ? [] : addressed(end))),
      `ip -n ${near.namespace} route add 10.99.${star ? '0.0/16' : '2.0/24'} ${far === undefined ? 'dev wan0' : `via ${far.address}`}`,
      ...(far === undefined ? [] : [`ip -n ${far.namespace} route add ${behind}.0/24 via ${near.address}`]),
    ]),
  }
}

const addressed = ({ namespace, device, address }: End): string[] => [
  `ip -n ${namespace} addr add ${address}/30 dev ${device}`,
  // A burst that the link has yet to take must not be lost in the device: dropping is the link's decision.
  `ip -n ${namespace} link set ${device} txqueuelen 4000 up`,
]

function check(sites: readonly Site[]): void {
  assert(sites.length >= 1 && sites.length <= SITES_MAX, `1..${SITES_MAX} sites`)
  assert.equal(new Set(sites.map(({ name }) => name)).size, sites.length, 'two sites of one name')
  for (const { name, peers } of sites) {
    assert(peers.length <= PEERS_MAX, `at most ${PEERS_MAX} peers in a site`)
    assert.equal(new Set(peers).size, peers.length, `two peers of one name in ${name}`)
    for (const text of [name, ...peers]) assert.match(text, NAME)
  }
}

const inside = (namespace: string, line: string): string => `ip netns exec ${namespace} sh -ec '${line}'`

function routing(namespace: string): string[] {
  return [
    `ip netns add ${namespace}`,
    `ip -n ${namespace} link set lo up`,
    // Router solicitations on the WAN would be counted with what peers send.
    inside(
      namespace,
      'cd /proc/sys/net; echo 1 >ipv4/ip_forward; for no in ipv6/conf/*/disable_ipv6; do [ ! -e $no ] || echo 1 >$no; done',
    ),
  ]
}

function bridge(router: string, x: number): string[] {
  return [
    // Without a querier in the LAN, snooping would keep mDNS from those whose membership it has forgotten.
    `ip -n ${router} link add br0 type bridge mcast_snooping 0`,
    `ip -n ${router} addr add 10.99.${x}.1/24 dev br0`,
    `ip -n ${router} link set br0 up`,
  ]
}

function lan(at: { router: string; peer: string; x: number; y: number; tcp: Tcp }): string[] {
  const { router, peer, x, y } = at
  const { congestion, offload } = at.tcp
  return [
    `ip netns add ${peer}`,
    `ip -n ${peer} link set lo up`,
    `ip -n ${peer} link add eth0 type veth peer name lan${y} netns ${router}`,
    `ip -n ${router} link set lan${y} master br0 up`,
    `ip -n ${peer} addr add 10.99.${x}.${y + 10}/24 dev eth0 noprefixroute`,
    `ip -n ${peer} link set eth0${offload ? '' : ' gso_max_segs 1'} up`,
    `ip -n ${peer} route add 10.99.${x}.0/24 dev eth0 src 10.99.${x}.${y + 10} congctl ${congestion}`,
    `ip -n ${peer} route add default via 10.99.${x}.1 congctl ${congestion}`,
    // The kernel lets a namespace have only such a default as the host allows to everyone; routes may name any, and do.
    // A link that was slow a test ago is not to be remembered as slow.
    inside(
      peer,
      `cd /proc/sys/net/ipv4; echo 1 >tcp_no_metrics_save; (echo ${congestion} >tcp_congestion_control) 2>/dev/null || :`,
    ),
  ]
}
