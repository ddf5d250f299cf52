/**
 * A peer's data folder: identity.key (0600), store/, chunks/, manifests/, disks/, machines/, journal/. Made by init or
 * join, bound to one mesh for its life; what is wrong with it is said before anything is opened.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GodwitError } from '../protocols/errors.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import { key } from '../storage/keyspace.ts'
import { type LevelStore, openStore } from '../storage/level/store.ts'
import { identity, type Identity } from '../storage/records.ts'

export const FORMAT = 1
const IDENTITY = key('meta', 'identity')

/** The private key of the folder, made by `make` when there is none yet: a join that is tried again keeps its peer id. */
export function privateKeyOf(folder: string, make: () => Uint8Array): Uint8Array {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, 'identity.key')
  if (existsSync(path)) return readFileSync(path)
  const made = make()
  writeFileSync(`${path}.partial`, made, { mode: 0o600, flush: true })
  renameSync(`${path}.partial`, path)
  return made
}

export type OpenFolder = { readonly store: LevelStore; readonly identity: Identity | undefined }

/** DATA_LOCKED, DATA_NEWER, DATA_CORRUPT when it cannot be used. */
export async function openFolder(folder: string): Promise<Outcome<OpenFolder>> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const store = await openStore(join(folder, 'store'))
  if (!store.ok) {
    // Whoever holds the store holds the folder, and the folder is what people know.
    return store.failure.code === 'DATA_LOCKED' ? failed({ code: 'DATA_LOCKED', folder }) : store
  }
  try {
    const [found] = store.value.recovered(IDENTITY)
    const known = found === undefined ? undefined : identity.decode(found[1])
    if (known !== undefined && known.format > FORMAT) {
      throw new GodwitError({ code: 'DATA_NEWER', folder, version: known.format, supported: FORMAT })
    }
    return ok({ store: store.value, identity: known })
  } catch (error) {
    await store.value.close()
    if (error instanceof GodwitError && error.failure.code !== 'FRAME_INVALID') return failed(error.failure)
    return failed({
      code: 'DATA_CORRUPT',
      what: `${folder}/store`,
      why: 'its identity record cannot be read',
    })
  }
}

/** Binds a folder to its mesh, for good. */
export function bind(store: LevelStore, to: Identity): Promise<Outcome<void>> {
  return new Promise((resolve) =>
    store.write([{ kind: 'put', key: IDENTITY, value: identity.encode(to) }], true, resolve),
  )
}

/** A number that no earlier life of this peer had: the journal's key is derived from it. */
export async function nextBoot(store: LevelStore): Promise<Outcome<number>> {
  const at = key('meta', 'boots')
  const [found] = store.recovered(at)
  const boot = found === undefined ? 1 : Number(Buffer.from(found[1]).toString('utf8')) + 1
  const written = await new Promise<Outcome<void>>((done) =>
    store.write([{ kind: 'put', key: at, value: Buffer.from(String(boot)) }], true, done),
  )
  return written.ok ? ok(boot) : written
}
