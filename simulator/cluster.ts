/**
 * Hosts with peers in sites, on one world: formed as operators form a mesh (init, tokens, joins through the door), or with
 * three founders, which no operator can make yet, then handed to a scenario. After every event one-owner is checked with true time.
 */
import type { Node } from '../node/compose.ts'
import {
  firstMembers,
  foundAlone,
  foundingOps,
  groupsFounded,
  MESH_GROUP,
  siteGroupOf,
} from '../node/founding.ts'
import type { Failure } from '../protocols/errors.ts'
import { newSiteId, newUlid } from '../protocols/ids.ts'
import { votersOf } from '../protocols/raft/configuration.ts'
import { peerOf } from '../protocols/raft/member.ts'
import { decodeToken } from '../protocols/join/token.ts'
import type { Outcome } from '../protocols/outcome.ts'
import type { Identity } from '../storage/records.ts'
import type { SimGuestImage } from './guest.ts'
import { SimHost } from './host.ts'
import { type NetworkOptions, SimNetwork } from './network.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

export type ClusterTerms = {
  readonly sites: readonly { readonly name: string; readonly peers: number; readonly uplink?: string }[]
  readonly memoryMiB: number
  readonly images: ReadonlyMap<string, SimGuestImage>
  readonly network?: Partial<NetworkOptions>
  /** Peers of the first site that found the mesh together, as the voters of its group and of the site's; 1 unless told. */
  readonly founders?: number
}

export type GroupName = 'mesh' | 'site'

const KNOCK_MS = 5_000
const AGAIN_MS = 500

export class Cluster {
  readonly world: World
  readonly network: SimNetwork
  readonly hosts: readonly SimHost[]
  /** Voters of the mesh's group and of the first site's. */
  readonly founders: readonly SimHost[]
  readonly #random: Random
  /** Peers that have joined and run. */
  formed = 0

  constructor(world: World, { sites, memoryMiB, images, network, founders = 1 }: ClusterTerms) {
    this.world = world
    this.network = new SimNetwork(world, network)
    this.#random = world.random('cluster')
    const hosts: SimHost[] = []
    for (const site of sites) {
      for (let n = 1; n <= site.peers; n++) {
        const terms = {
          id: peerIdOf(hosts.length),
          name: `${site.name}-${n}`,
          site: site.name,
          cpus: 8,
          memoryMiB,
          diskBytes: 2 ** 40,
          ...(site.uplink !== undefined && { uplink: site.uplink }),
        }
        hosts.push(new SimHost(world, this.network, terms, images))
      }
    }
    this.hosts = hosts
    this.founders = hosts.slice(0, Math.min(founders, sites[0]?.peers ?? 0))
  }

  host(name: string): SimHost {
    const host = this.hosts.find(({ terms }) => terms.name === name)
    if (host === undefined) throw new Error(`no host ${name}`)
    return host
  }

  hostsOf(site: string): SimHost[] {
    return this.hosts.filter(({ terms }) => terms.site === site)
  }

  /** Who leads the mesh's group now, or that of the founders' site: a founder, or whoever was elected a voter since. */
  leader(group: GroupName): SimHost | undefined {
    const led = this.#groupHosts(group).flatMap((host) => {
      const { role, term } = host.node?.context.agreement[group].status() ?? { role: 'follower', term: 0 }
      return role === 'leader' ? [{ host, term }] : []
    })
    return led.toSorted((a, b) => b.term - a.term)[0]?.host
  }

  /** The hosts of its voters, as `leader` knows them. */
  voters(group: GroupName, leader: SimHost): SimHost[] {
    const status = leader.node?.context.agreement[group].status()
    const peers = new Set(status === undefined ? [] : votersOf(status.configuration).map(peerOf))
    return this.#groupHosts(group).filter(({ terms }) => peers.has(terms.id))
  }

  #groupHosts(group: GroupName): readonly SimHost[] {
    return group === 'mesh' ? this.hosts : this.hostsOf(this.founders[0]?.terms.site ?? '')
  }

  /** The founders found the mesh, the others join, a few at a time; each tries again until it is in. */
  form(done: () => void): void {
    const [first] = this.founders
    if (first === undefined) return done()
    const others = this.hosts.slice(this.founders.length)
    const genesis = this.#genesis(first)
    const peers = this.founders.map(({ terms }) => terms.id)
    const logs = [MESH_GROUP, siteGroupOf(genesis)].map((group) => ({
      group,
      voters: firstMembers(peers, this.#random),
    }))
    const joined = (): void => {
      this.formed++
      if (this.formed === this.founders.length)
        others.forEach((host, index) => this.world.after(20 * index, () => this.#join(host, first, joined)))
      if (this.formed === this.hosts.length) done()
    }
    for (const host of this.founders) {
      const { id, name } = host.terms
      host.identity = { ...genesis, peer: id, peerName: name }
      const first = logs.flatMap(({ group, voters }) => {
        const member = voters.find((each) => peerOf(each) === id) as string
        return foundingOps(group, member, voters)
      })
      host.remember(
        genesis.founders.map(({ peer, addresses }) => ({ id: peer, addresses })),
        first,
      )
      host.start(joined)
    }
  }

  /** What all founders write down. */
  #genesis({ terms }: SimHost): Omit<Identity, 'peer' | 'peerName'> & Required<Pick<Identity, 'founders'>> {
    return {
      format: 1,
      mesh: newUlid(1_800_000_000_000, this.#random),
      site: newSiteId(this.#random),
      siteName: terms.site,
      founds: true,
      founders: this.founders.map((host) => ({
        peer: host.terms.id,
        peerName: host.terms.name,
        addresses: host.plug().transport.addresses().slice(0, 16),
      })),
    }
  }

  ask<T>(host: SimHost, method: string, params: object, done: (outcome: Outcome<T>) => void): void {
    const node: Node | undefined = host.node
    if (node === undefined) {
      const failure: Failure = { code: 'DAEMON_UNREACHABLE', socket: host.terms.name }
      return void this.world.after(1, () => done({ ok: false, failure }))
    }
    node.ask(method, params, done as (outcome: Outcome<unknown>) => void)
  }

  #join(host: SimHost, by: SimHost, done: () => void): void {
    const again = (): void => void this.world.after(AGAIN_MS, () => this.#join(host, by, done))
    this.ask<{ token: string }>(by, 'token.create', { site: '', expiryMs: 600_000 }, (made) => {
      if (!made.ok) return again()
      const token = decodeToken(made.value.token)
      if (!token.ok) throw new Error('a token that does not decode')
      const { id, secret } = token.value
      const { name, site } = host.terms
      const { door, transport } = host.plug()
      const hello = { tokenId: id, secret, name, site, addresses: transport.addresses(), version: 1 as const }
      door.knock(by.terms.id, hello, KNOCK_MS, (welcome) => {
        if (!welcome.ok) return again()
        const { meshId, siteId, founder, peers } = welcome.value
        host.identity = {
          format: 1,
          mesh: meshId,
          peer: host.terms.id,
          peerName: name,
          site: siteId,
          siteName: site,
          founds: false,
        }
        host.remember(peers, foundAlone(groupsFounded(host.identity, founder), host.terms.id, this.#random))
        host.start(done)
      })
    })
  }
}

const LETTERS = 'abcdefghij'
/** A peer id as ids.ts wants one: base 58 has no 0 and no l. */
const peerIdOf = (index: number): string =>
  `Simpeer${String(index)
    .padStart(9, '0')
    .split('')
    .map((digit) => LETTERS[Number(digit)])
    .join('')}`
