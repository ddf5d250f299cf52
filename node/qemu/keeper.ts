/**
 * Starts keepers (keeper.sh): processes of their own session, which this peer's end does not touch, each the parent of
 * one guest.
 */
import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import type { MachineFolder, Processes } from './machine-folder.ts'
import { readProcesses, readTail } from './machine-folder.ts'

const KEEPER = join(import.meta.dirname, 'keeper.sh')
/** A shell that forks twice; a busy small host may take seconds. */
const KEEPER_MS = 15_000
const POLL_MS = 5

/** Exit status of a keeper that found another guest of its VM running. */
const HELD = 75

export type Kept = {
  readonly processes: Processes
  /** Settles when the keeper has ended, and with it the guest. */
  readonly ended: Promise<void>
}

export type Keeping = {
  readonly folder: MachineFolder
  readonly name: string
  readonly token: string
  /** Folder of the guest's control group, or empty. */
  readonly cgroup: string
  readonly program: string
  readonly args: readonly string[]
}

/** Starts a keeper; resolves once the guest's process exists. HYPERVISOR with its words when it does not. */
export async function startKeeper(keeping: Keeping): Promise<Kept> {
  const { folder, name, token, cgroup, program, args } = keeping
  const log = await open(folder.keeperLog, 'a', 0o600)
  let status: number | undefined
  let pid: number | undefined
  const ended = Promise.withResolvers<void>()
  try {
    const keeper = spawn('/bin/sh', [KEEPER, folder.path, token, cgroup, program, ...args], {
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      cwd: '/',
    })
    keeper.on('error', () => {
      status = 71
      ended.resolve()
    })
    keeper.on('exit', (code) => {
      status = code ?? 128
      ended.resolve()
    })
    pid = keeper.pid
    keeper.unref()
  } finally {
    await log.close()
  }

  const deadline = performance.now() + KEEPER_MS
  for (;;) {
    const processes = await readProcesses(folder)
    // Another's names may still stand there, when it holds the lock.
    if (processes !== undefined && processes.keeper.pid === pid) return { processes, ended: ended.promise }
    if (status === HELD)
      throw new GodwitError({ code: 'ILLEGAL_STATE', vm: name, state: 'running', wanted: 'started' })
    if (status !== undefined) throw await failure(folder, name, `its keeper ended with ${status}`)
    if (performance.now() > deadline) throw await failure(folder, name, 'its keeper does not start')
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Why a guest did not start: the last line that it or its keeper wrote, else `otherwise`. */
export async function failure(folder: MachineFolder, vm: string, otherwise: string): Promise<GodwitError> {
  const lines = (await readTail(folder.keeperLog, 4096)).trim().split('\n')
  const said = lines.findLast((line) => !line.includes('warning:')) ?? ''
  return new GodwitError({ code: 'HYPERVISOR', vm, why: (said || otherwise).slice(0, 300) })
}
