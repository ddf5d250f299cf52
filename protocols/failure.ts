/**
 * A failure on its way to who asked. The shape is loose on purpose: a newer peer may fail in ways this one does not
 * know, and its own refusals must still read as what they are. Code and details are text; an unknown code, or details
 * that this version cannot print, come back as INTERNAL with what was said.
 */
import { codec } from './codec.ts'
import { describeFailure, RULES, type Failure } from './errors.ts'
import { record, text } from './shape.ts'

/** NO_HOST lists a reason for each of a site's 256 hosts; anything longer is not for people to read. */
const DETAIL_LENGTH_MAX = 32 * 1024

const carried = codec(
  'failure',
  record({ code: text(64), detail: text(DETAIL_LENGTH_MAX) }),
  DETAIL_LENGTH_MAX + 128,
)

export function encodeFailure(failure: Failure): Uint8Array {
  const detail = JSON.stringify(failure)
  if (detail.length <= DETAIL_LENGTH_MAX / 4) return carried.encode({ code: failure.code, detail })
  return encodeFailure({ code: 'INTERNAL', why: describeFailure(failure).slice(0, 300) })
}

/** @throws GodwitError FRAME_INVALID or FRAME_TOO_LARGE when it is no failure at all. */
export function decodeFailure(frame: Uint8Array): Failure {
  const { code, detail } = carried.decode(frame)
  try {
    const failure = { ...(JSON.parse(detail) as object), code } as Failure
    // A known code with details that its own rule cannot print is as good as unknown.
    if (Object.hasOwn(RULES, code) && typeof describeFailure(failure) === 'string') return failure
  } catch {
    // Falls through to what was said.
  }
  return { code: 'INTERNAL', why: `${code} ${detail}`.slice(0, 300) }
}
