/**
 * Plants one bug: `node --import ./simulator/planted/load.mjs` with GODWIT_PLANTED set to its id changes the one file as it is
 * loaded. The file on disk is never touched. Without types, because it runs before anything else does.
 */
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { relative, sep } from 'node:path'
import { plant, PLANTED } from './planted.ts'

const id = process.env['GODWIT_PLANTED']
const bug = PLANTED.find((each) => each.id === id)
if (bug === undefined) throw new Error(`GODWIT_PLANTED: no planted bug ${id}`)
const root = fileURLToPath(new URL('../..', import.meta.url))

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    const file = url.startsWith('file:') ? relative(root, fileURLToPath(url)).split(sep).join('/') : ''
    if (!bug.edits.some((edit) => edit.file === file)) return loaded
    return { ...loaded, source: plant(bug, file, Buffer.from(loaded.source).toString()) }
  },
})
