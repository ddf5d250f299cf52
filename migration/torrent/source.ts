/** What an operator names as an image: something on this host, which ordinary import reads, or something outside. */
import { isMagnet } from './magnet.ts'

export type SourceKind = 'magnet' | 'url' | 'torrent' | 'host'

export function sourceKind(typed: string): SourceKind {
  if (isMagnet(typed)) return 'magnet'
  if (/^https?:\/\//i.test(typed)) return 'url'
  return /\.torrent$/i.test(typed) ? 'torrent' : 'host'
}
