/**
 * `npm run simulate -- planted [ID…] [--seeds N] [--json]`: plants each bug in turn and runs seeds until one fails. Ends with 0 when
 * every bug was found, 1 when one was missed.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Planted, PLANTED, SIMULATIONS } from './planted.ts'

/** A bug that is not found in so many is given up, unless told. */
const SEEDS = 1_000
const ROOT = join(import.meta.dirname, '../..')

type Found = {
  readonly id: string
  readonly name: string
  readonly seeds: number | null
  readonly why: string
  readonly seconds: number
}

type Options = { readonly seeds?: number; readonly json?: boolean }

/** @param ids Which bugs; all when empty. */
export async function planted(ids: readonly string[], options: Options): Promise<number> {
  const bugs = PLANTED.filter(({ id }) => ids.length === 0 || ids.includes(id))
  let missed = 0
  for (const bug of bugs) {
    const found = await seek(bug, options.seeds ?? SEEDS)
    if (found.seeds === null) missed++
    process.stdout.write(options.json === true ? `${JSON.stringify(found)}\n` : text(found))
  }
  return missed === 0 ? 0 : 1
}

/** Seeds of its simulation until one fails that holds without the bug. */
export async function seek(bug: Planted, seeds: number): Promise<Found> {
  const started = performance.now()
  let ran = 0
  let why = ''
  while (why === '' && ran < seeds) {
    const batch = await run(bug, { firstSeed: ran + 1, seeds: seeds - ran, planted: true })
    ran += batch.ran
    // A seed that fails by itself has found another bug, not this one.
    if (batch.failed !== undefined && !(await fails(bug, batch.failed))) why = batch.why
  }
  const seconds = Math.round((performance.now() - started) / 100) / 10
  return { id: bug.id, name: bug.name, seeds: why === '' ? null : ran, why, seconds }
}

const fails = async (bug: Planted, seed: number): Promise<boolean> =>
  (await run(bug, { firstSeed: seed, seeds: 1, planted: false })).failed !== undefined

type Batch = { readonly firstSeed: number; readonly seeds: number; readonly planted: boolean }
type Ran = { readonly ran: number; readonly failed: number | undefined; readonly why: string }

/** Seeds in order, in a process that may have the bug, until one fails. */
async function run(bug: Planted, { firstSeed, seeds, planted: isPlanted }: Batch): Promise<Ran> {
  const range = ['--seed', String(firstSeed), '--seeds', String(seeds), '--threads', '1']
  const load = isPlanted ? ['--import', './simulator/planted/load.mjs'] : []
  const child = spawn(
    process.execPath,
    [...load, 'simulator/cli.ts', ...SIMULATIONS[bug.by], ...range, '--json'],
    {
      cwd: ROOT,
      env: { ...process.env, GODWIT_PLANTED: bug.id },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-2_000)))
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  let ran = 0
  for await (const line of createInterface(child.stdout)) {
    const { seed, ok, why = '' } = JSON.parse(line) as { seed?: number; ok: boolean; why?: string }
    if (seed === undefined) continue
    ran++
    if (ok) continue
    child.kill()
    await closed
    return { ran, failed: seed, why }
  }
  // Neither a failing seed nor a good end: the bug kept the simulation from running at all, which is no finding.
  if ((await closed) !== 0) throw new Error(`${bug.id}: the simulation did not run: ${stderr}`)
  return { ran, failed: undefined, why: '' }
}

const text = ({ id, name, seeds, why, seconds }: Found): string =>
  `${id.padEnd(4)} ${name.padEnd(32)} ${seeds === null ? 'MISSED' : `${seeds} seeds`.padEnd(10)} ${seconds} s  ${why.slice(0, 150)}\n`
