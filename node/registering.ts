/**
 * A site's group that was recovered, and the mesh (catalog/generations.ts): whoever leads it has its generation registered, and
 * every peer of it sees whether it has become a rival's. What is seen is in `raft list` and `status` while it is so, and
 * once in the journal.
 */
import { printGeneration } from '../protocols/epoch.ts'
import { peerOf } from '../protocols/raft/member.ts'
import type { Journal } from '../storage/journal.ts'
import type { Clock } from '../protocols/clock.ts'
import type { Agreement } from './agreement.ts'
import { isRival } from './catalog/generations.ts'
import type { MeshState } from './catalog/mesh.ts'
import { generationOf } from './catalog/recovery.ts'
import type { SiteGroup } from './copies.ts'
import type { Group } from './group.ts'
import { InHand } from './moving/around.ts'

type Ports = { readonly clock: Clock; readonly journal: Journal }

export class Registering {
  readonly #agreement: Pick<Agreement, 'mesh' | 'proposeMesh'>
  readonly #ports: Ports
  readonly #told = new InHand()
  readonly #noted = new Map<string, string>()

  constructor(agreement: Pick<Agreement, 'mesh' | 'proposeMesh'>, ports: Ports) {
    this.#agreement = agreement
    this.#ports = ports
  }

  /** Called again and again. `group`: this peer's own site's, or one of which it keeps a copy. */
  look(group: SiteGroup, site: string): void {
    const { mesh } = this.#agreement
    const of = generationOf(group.state)
    const registered = mesh.state.generations?.[site]
    this.#note(group.name, rivalsOf(mesh.state, group, site))
    if (of === 0 || mesh.state.sites[site] === undefined) return
    const { by = '', before = [0] } = group.state.recovery ?? {}
    const isSame = (each: { generation: number; member: string }): boolean =>
      each.generation === of && each.member === by
    if (registered !== undefined && (isSame(registered) || registered.rivals.some(isSame))) {
      // Two drew one number: their entries cannot be told apart, so whoever is not registered begins with none.
      if (!isSame(registered) && registered.generation === of) group.giveWay()
      return
    }
    if (group.role !== 'leader') return
    const begun = { site, siteName: group.name.slice('site/'.length), generation: of, member: by, before }
    this.#told.once(group.name, (done) =>
      this.#agreement.proposeMesh({ kind: 'site-generation', ...begun }, done),
    )
  }

  /** The mesh's own rivals are known by hearsay alone. */
  lookAtMesh(): void {
    const { mesh } = this.#agreement
    this.#note(mesh.name, rivalsOf(mesh.state, mesh, ''))
  }

  #note(group: string, text: string): void {
    if ((this.#noted.get(group) ?? '') === text) return
    this.#noted.set(group, text)
    if (text === '') return
    const atMs = this.#ports.clock.wallMs()
    this.#ports.journal.append({ atMs, kind: 'rival', subject: group, text: text.slice(0, 500) })
  }
}

/** For people: which other generation of a group there is, and what comes of it; empty when there is none. */
export function rivalsOf(
  mesh: MeshState,
  { name, generation, rival }: Pick<Group<unknown, never>, 'name' | 'generation' | 'rival'>,
  site: string,
): string {
  const registered = mesh.generations?.[site]
  const who = (member: string): string => {
    const peer = member === '' ? '' : peerOf(member)
    return mesh.peers[peer]?.name ?? (peer === '' ? 'its own host' : peer.slice(-8))
  }
  const own = printGeneration(generation)
  if (registered !== undefined && isRival(registered, generation)) {
    const first = `${printGeneration(registered.generation)}, begun on ${who(registered.member)}`
    return `${own} is a rival of ${first}, which the mesh has registered: it is put aside when that one is heard; if nobody has that one any more, stop this peer and godwit raft recover --group ${name}`
  }
  const others = registered === undefined ? (rival === undefined ? [] : [rival]) : registered.rivals
  return others
    .filter((each) => each.generation !== generation)
    .map((each) => {
      const which = `${printGeneration(each.generation)}, begun on or heard from ${who(each.member)}`
      return registered === undefined
        ? `${which}, is a rival of ${own}: the one that gives way puts its log aside when it hears the other`
        : `${which}, is a rival of ${own}, which the mesh has registered: it gives way by itself, and what only it agreed on is lost`
    })
    .join('; ')
}
