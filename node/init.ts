/** `init` and `join`: from an empty data folder to one that belongs to a mesh. Neither runs the peer; `up` does. */
import { hash, randomBytes } from 'node:crypto'
import type { Failure } from '../protocols/errors.ts'
import { newSiteId, newUlid } from '../protocols/ids.ts'
import { decodeToken } from '../protocols/join/token.ts'
import { newPrivateKey, peerIdOf } from '../protocols/libp2p/identity.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import { key } from '../storage/keyspace.ts'
import { recoverOwner } from '../storage/raft-log.ts'
import { asideOps } from '../storage/raft-salvage.ts'
import { type Identity, knownPeer, notLeftOp } from '../storage/records.ts'
import type { Op, Store } from '../storage/store.ts'
import type { Config } from './config.ts'
import { foundAlone, groupsFounded, MESH_GROUP, siteGroupOf } from './founding.ts'
import { bind, FORMAT, openFolder, privateKeyOf } from './data-folder.ts'
import { dice } from './dice.ts'

export type Joined = { readonly mesh: string; readonly peer: string; readonly site: string }

/** Six round trips of dialling over a slow link, an entry of the mesh group, and as much again. */
const JOIN_MS = 20_000

/** A new mesh with this peer as its first, in a new site. */
export async function initialise(
  config: Config,
  { site, name }: { site: string; name: string },
): Promise<Outcome<Joined>> {
  return withFolder(config, undefined, (peer) => {
    const identity: Identity = {
      format: FORMAT,
      mesh: newUlid(Date.now(), dice),
      peer,
      peerName: name,
      site: newSiteId(dice),
      siteName: site,
      founds: true,
    }
    return Promise.resolve(ok({ identity, foundsSite: true, peers: [] }))
  })
}

/**
 * Joins the mesh that the token is from; ends once the admission is committed there. A peer that was removed from that mesh
 * joins it again on the folder that it has: with its key, its grants and its disks, and as a new member of its groups.
 */
export async function joinMesh(
  config: Config,
  { token: text, site, name }: { token: string; site: string; name: string },
): Promise<Outcome<Joined>> {
  const decoded = decodeToken(text)
  if (!decoded.ok) return decoded
  const token = decoded.value
  if (token.expiresMs < Date.now()) return failed({ code: 'TOKEN_REFUSED', why: 'expired' })
  return withFolder(config, { mesh: token.mesh, site }, async (peer, privateKey) => {
    const hello = {
      tokenId: token.id,
      secret: token.secret,
      name,
      site,
      addresses: announced(config, peer),
      version: 1 as const,
    }
    // Only a join needs connections: without their packages an init takes half the CPU (0.3 s, not 0.6).
    const { requestJoin } = await import('../protocols/libp2p/door.ts')
    const welcome = await requestJoin({ token, privateKey, hello, timeoutMs: JOIN_MS })
    if (!welcome.ok) return welcome
    const { meshId, siteId, founder, peers } = welcome.value
    const identity: Identity = {
      format: FORMAT,
      mesh: meshId,
      peer,
      peerName: name,
      site: siteId,
      siteName: site,
      founds: false,
    }
    return ok({ identity, foundsSite: founder, peers })
  })
}

type Made = {
  identity: Identity
  foundsSite: boolean
  peers: readonly { id: string; addresses: readonly string[] }[]
}

/** `again`: the mesh of which the folder may be already, and the site that it is to be of. */
async function withFolder(
  config: Config,
  again: { readonly mesh: string; readonly site: string } | undefined,
  make: (peer: string, privateKey: Uint8Array) => Promise<Outcome<Made>>,
): Promise<Outcome<Joined>> {
  const opened = await openFolder(config.dataDir)
  if (!opened.ok) return opened
  const { store, identity: known } = opened.value
  try {
    if (known !== undefined && known.mesh !== again?.mesh)
      return failed<Joined>({ code: 'DATA_EXISTS', folder: config.dataDir } satisfies Failure)
    if (known !== undefined && known.siteName !== again?.site && store.recovered(key('grant')).length > 0) {
      const why = `this peer holds VMs of site ${known.siteName}: it joins that one again, or none`
      return failed<Joined>({ code: 'USAGE', why, next: `godwit join --site ${known.siteName}` })
    }
    const privateKey = privateKeyOf(config.dataDir, newPrivateKey)
    const made = await make(peerIdOf(privateKey), privateKey)
    if (!made.ok) return made
    const { identity, foundsSite, peers } = made.value
    const records = peers.map(({ id, addresses }) => ({
      kind: 'put' as const,
      key: key('peer', id),
      value: knownPeer.encode({ id, addresses: [...addresses] }),
    }))
    const first = [...records, ...beginning(store, known, identity, foundsSite)]
    const written = await new Promise<Outcome<void>>((resolve) => store.write(first, true, resolve))
    if (!written.ok) return written
    const bound = await bind(store, identity)
    return bound.ok ? ok({ mesh: identity.mesh, peer: identity.peerName, site: identity.siteName }) : bound
  } finally {
    await store.close()
  }
}

/** The logs that a peer begins with. The one peer of a site that comes back has that group's log, and goes on with it. */
function beginning(
  store: Pick<Store, 'recovered'>,
  known: Identity | undefined,
  identity: Identity,
  foundsSite: boolean,
): Op[] {
  const founded = (founds: boolean): Op[] => foundAlone(groupsFounded(identity, founds), identity.peer, dice)
  if (known === undefined) return founded(foundsSite)
  const site = siteGroupOf(known)
  const keeps = foundsSite && known.site === identity.site && recoverOwner(store, site) !== undefined
  const aside = (group: string): Op[] =>
    asideOps(store, group, { atMs: Date.now(), why: 'this peer joined again', member: '' })
  return [...aside(MESH_GROUP), ...(keeps ? [] : aside(site)), ...founded(foundsSite && !keeps), notLeftOp]
}

/** What others may dial: what is announced, else what is listened on where that names one address. */
function announced(config: Config, peer: string): string[] {
  const named =
    config.announce.length > 0
      ? config.announce
      : config.listen.filter((address) => !/\/(0\.0\.0\.0|::)\//.test(address))
  return named.map((address) => `${address}/p2p/${peer}`)
}

export const secrets = {
  make: (): Uint8Array => randomBytes(32),
  hash: (secret: Uint8Array): string => hash('sha256', secret, 'hex'),
}
