/** A data folder on which no peer runs: what `raft recover` and `raft snapshot restore` read there, write and note. */
import { printGeneration } from '../protocols/epoch.ts'
import { failureOf, GodwitError } from '../protocols/errors.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import { peerOf } from '../protocols/raft/member.ts'
import type { LevelStore } from '../storage/level/store.ts'
import { type Recoverable, recoverOwner } from '../storage/raft-log.ts'
import { asideView, remainsOf as salvage } from '../storage/raft-salvage.ts'
import { bindingIn, type Identity } from '../storage/records.ts'
import { decodeSnapshotFile } from '../storage/snapshot-file.ts'
import { judge } from './binding/judge.ts'
import { openOutside } from './binding/outside.ts'
import type { MeshState } from './catalog/mesh.ts'
import type { Config } from './config.ts'
import { openFolder } from './data-folder.ts'
import { dice } from './dice.ts'
import { MESH_GROUP, siteGroupOf } from './founding.ts'
import { noteOffline } from './offline-note.ts'
import {
  meshIn,
  readable,
  type Remains,
  remainsIn,
  remainsOf,
  remainsOfFile,
  successor,
} from './recovering.ts'

export type Begun = {
  readonly group: string
  readonly generation: number
  readonly generationName: string
  /** The last entry that is kept. */
  readonly index: number
  readonly peer: string
  /** Names of voters whose logs count no more. */
  readonly lost: readonly string[]
  /** What is kept, counted, for people. */
  readonly kept: string
}

export type Prepared = {
  readonly begun: Begun
  /** Writes the generation, durably, and notes it in the journal. */
  begin(): Promise<Outcome<void>>
  close(): Promise<void>
}

type Folder = { readonly store: LevelStore; readonly identity: Identity }
export type Place = Pick<Config, 'dataDir' | 'markDir'>

export const prepareRecovery = (config: Place, typed: string): Promise<Outcome<Prepared>> =>
  prepared(config, 'recover', ({ store, identity }) => {
    const group = typed === 'site' ? siteGroupOf(identity) : typed
    mustBeHere(group, identity, store)
    return { group, ...newestIn(store, group) }
  })

export const prepareRestore = (config: Place, bytes: Uint8Array, path: string): Promise<Outcome<Prepared>> =>
  prepared(config, 'restore', ({ store, identity }) => {
    const file = decodeSnapshotFile(bytes, path)
    if (file.cluster !== identity.mesh) {
      throw new GodwitError({
        code: 'DATA_FOREIGN',
        folder: path,
        found: `mesh ${file.cluster}`,
        wanted: `mesh ${identity.mesh}`,
      })
    }
    mustBeHere(file.group, identity, store)
    const owner = recoverOwner(store, file.group)
    const there = readable(() => remainsIn(store, file.group))
    const restored = remainsOfFile(file, owner)
    const remains = { ...restored, term: Math.max(restored.term, there?.term ?? 0) }
    return { group: file.group, remains, floor: owner?.generation ?? 0 }
  })

/** A group of this peer's, or another site's of which it keeps a copy. */
function mustBeHere(group: string, identity: Identity, store: Recoverable): void {
  if (group === MESH_GROUP || group === siteGroupOf(identity)) return
  if (readable(() => recoverOwner(store, group)) !== undefined) return
  throw new GodwitError({ code: 'NOT_FOUND', what: 'group', name: group })
}

/**
 * The log; when it is damaged, what is left of it; when it is empty because a damaged one was put aside, what is left of that.
 * @throws GodwitError DATA_CORRUPT when nothing can be read, NOT_FOUND when there is nothing.
 */
function newestIn(store: LevelStore, group: string): { remains: Remains; floor: number; isAside: boolean } {
  const own = readable(() => remainsIn(store, group)) ?? salvaged(store, group)
  if (own !== undefined && own.index > 0) return { remains: own, floor: 0, isAside: false }
  const aside = asideView(store, group)
  const old = readable(() => remainsIn(aside, group)) ?? salvaged(aside, group)
  const floor = own?.owner?.generation ?? 0
  if (old !== undefined && old.index > 0) return { remains: old, floor, isAside: true }
  // Says what is damaged.
  remainsIn(store, group)
  throw new GodwitError({ code: 'NOT_FOUND', what: 'log of group', name: group })
}

/** The copy of a group that this peer decided alone, and the entries behind it that are whole. */
function salvaged(store: Recoverable, group: string): Remains | undefined {
  const left = salvage(store, group)
  if (left === undefined) return undefined
  const { owner, snapshot, entries, term, lastIndex } = left
  const found = remainsOf(group, owner, {
    hardState: { term, vote: '', commit: lastIndex },
    snapshot,
    entries,
  })
  return { ...found, index: Math.max(found.index, lastIndex) }
}

type Source = {
  readonly group: string
  readonly remains: Remains
  readonly floor: number
  /** It comes from what was put aside: that stays there, as the log that it replaces holds nothing. */
  readonly isAside?: boolean
}

async function prepared(
  config: Place,
  kind: string,
  read: (folder: Folder) => Source,
): Promise<Outcome<Prepared>> {
  const opened = await openFolder(config.dataDir)
  if (!opened.ok) return opened
  const { store, identity } = opened.value
  try {
    if (identity === undefined) throw new GodwitError({ code: 'DATA_MISSING', folder: config.dataDir })
    const outside = openOutside(config, identity)
    const verdict = judge(bindingIn(store), outside.found, outside.facts)
    if (verdict.kind === 'mismatch') throw new GodwitError({ code: 'DATA_MISMATCH', why: verdict.why })
    const { group, remains, floor, isAside = false } = read({ store, identity })
    const mesh = meshIn(store)
    const names = group === MESH_GROUP ? (remains.envelope.state as MeshState) : mesh
    const next = successor(
      store,
      group,
      identity,
      remains,
      { mesh, floor, kind, wallMs: Date.now(), isAside },
      dice,
    )
    const begun: Begun = {
      group,
      generation: next.generation,
      generationName: printGeneration(next.generation),
      index: remains.index,
      peer: identity.peerName,
      lost: next.lost.map((member) => names?.peers[peerOf(member)]?.name ?? peerOf(member).slice(-8)),
      kept: countsOf(remains.envelope.state),
    }
    const begin = async (): Promise<Outcome<void>> => {
      const written = await new Promise<Outcome<void>>((done) => store.write(next.ops, true, done))
      if (written.ok) await note(config, { store, identity }, kind, begun)
      return written
    }
    return ok({ begun, begin, close: () => store.close() })
  } catch (error) {
    await store.close()
    return failed(failureOf(error))
  }
}

function countsOf(state: object): string {
  const count = (key: string): number => Object.keys((state as Record<string, object>)[key] ?? {}).length
  if ('homes' in state) return ` (${count('peers')} peers, ${count('sites')} sites, ${count('homes')} homes)`
  return ` (${count('hosts')} hosts, ${count('vms')} VMs, ${count('images')} images)`
}

async function note(config: Place, { store, identity }: Folder, kind: string, begun: Begun): Promise<void> {
  const { group, generationName, index, lost } = begun
  const noted = await noteOffline(config.dataDir, store, {
    atMs: Date.now(),
    kind,
    subject: group,
    text: `generation ${generationName} begins with ${identity.peerName} alone, from entry ${index}; without ${lost.join(', ') || 'nobody'}`,
  })
  if (!noted.ok) throw new GodwitError(noted.failure)
}
