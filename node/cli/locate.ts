/** Where the peer's control socket is, and the data folder beside it. Reads the configuration only when a file decides. */
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import { defaultConfigFile, defaultDataDir, type Flags, SOCKET_NAME } from '../config-keys.ts'
import type { Io } from './command.ts'

export async function locate(flags: Flags, { cwd, env }: Io): Promise<{ socket: string; dataDir: string }> {
  const said = (flag: string, variable: string): string | undefined => {
    const text = flags[flag] ?? (env[variable] || undefined)
    return typeof text === 'string' ? resolve(cwd, text) : undefined
  }
  const root = process.getuid?.() === 0
  const socket = said('socket', 'GODWIT_SOCKET')
  const dataDir = said('data-dir', 'GODWIT_DATA_DIR')
  if (socket !== undefined) return { socket, dataDir: dataDir ?? dirname(socket) }
  const named = said('config', 'GODWIT_CONFIG')
  if (named === undefined && !existsSync(defaultConfigFile(env, root))) {
    const folder = dataDir ?? defaultDataDir(env, root)
    return { socket: join(folder, SOCKET_NAME), dataDir: folder }
  }
  const { readConfig } = await import('../config.ts')
  // Only where to ask: what else flags would change is the peer's, and was settled when it started.
  const { config, 'data-dir': folder } = flags
  const read = await readConfig(
    { ...(config !== undefined && { config }), ...(folder !== undefined && { 'data-dir': folder }) },
    env,
  )
  if (!read.ok) throw new GodwitError(read.failure)
  return read.value.config
}
