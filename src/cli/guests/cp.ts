import { vmError } from '../../errors.js'
import { EXIT_CODES } from '../exit-code.js'
import { findResponsiveGuest } from './find-guest.js'
import { type LoginFlags, logIn } from './login.js'

/** Path on this host, or in a guest. */
export interface Place {
  /** Undefined: this host. */
  readonly guest: string | undefined
  readonly path: string
}

/** Copies of one command that use the same connection. */
export interface CopyPlan {
  readonly direction: 'upload' | 'download'
  readonly guest: string
  readonly sources: readonly string[]
  readonly target: string
}

/**
 * Runs `withvm cp`: copies files and folders to or from running guests. The target is resolved as
 * by `cp -r`.
 */
export async function copyFiles(paths: readonly string[], flags: LoginFlags): Promise<number> {
  const plans = planCopies(paths)
  const guests = await Promise.all(plans.map(({ guest }) => findResponsiveGuest(guest)))
  for (const [index, { direction, sources, target }] of plans.entries()) {
    const client = await logIn(guests[index] as (typeof guests)[number], flags)
    try {
      for (const source of sources) await client[direction](source, target)
    } finally {
      client.close()
    }
  }
  return EXIT_CODES.ok
}

/**
 * Parses the arguments of `withvm cp`: sources, then the target. Several sources are copied into
 * the target, which must then be a folder.
 *
 * @throws {UsageError} INVALID_OPTIONS unless all sources are on this host and the target is in a
 *   guest, or all sources are in guests and the target is on this host.
 */
export function planCopies(paths: readonly string[]): CopyPlan[] {
  const sources = paths.slice(0, -1).map(parsePlace)
  const target = parsePlace(paths.at(-1) ?? '')
  const path = sources.length > 1 && !target.path.endsWith('/') ? `${target.path}/` : target.path
  if (target.guest !== undefined && sources.every(({ guest }) => guest === undefined))
    return [
      { direction: 'upload', guest: target.guest, sources: sources.map((one) => one.path), target: path },
    ]
  const names = [...new Set(sources.map(({ guest }) => guest))]
  if (target.guest !== undefined || names.includes(undefined)) throw wrongSidesError(paths)
  return names.map((guest) => ({
    direction: 'download',
    guest: guest as string,
    sources: sources.filter((one) => one.guest === guest).map((one) => one.path),
    target: path,
  }))
}

/**
 * Parses `NAME:PATH` or the path of a file on this host. As with scp(1), a colon after a `/`
 * belongs to the path, and an empty path is the home folder of the user in the guest.
 */
export function parsePlace(text: string): Place {
  const [, guest, path = ''] = /^([^/:]+):(.*)$/s.exec(text) ?? []
  return guest === undefined ? { guest, path: text } : { guest, path: path === '' ? '.' : path }
}

function wrongSidesError(paths: readonly string[]) {
  return vmError('INVALID_OPTIONS', {
    summary: '`withvm cp` copies between this host and a guest.',
    expected: 'sources on this host and a target in a guest, or the reverse',
    got: paths.join(' '),
    hint: 'Write `NAME:PATH` for a path in a guest, and `./a:b` for a local file whose name contains a colon.',
  })
}
