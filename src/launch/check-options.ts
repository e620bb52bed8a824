import type { HostUser } from '../common/process/host-user.js'
import { findHostUser } from '../host/host-user.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type GuestArch, resolveArch } from '../spec/architectures.js'
import { optionSchema } from '../spec/option-schema.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { findFileProblems, findQemuProblems } from './host-problems.js'
import { findResourceProblems, viewHost } from './host-resources.js'

/**
 * Returns the architecture of the host if the option is invalid: the validation reports that
 * problem first.
 */
function findArch(arch: unknown): GuestArch {
  const isKnown = typeof arch === 'string' && optionSchema.shape.arch.safeParse(arch).success
  return resolveArch(isKnown ? arch : undefined)
}

/** QEMU binary and host user of a guest. */
export interface Runner {
  readonly qemu: QemuBinary
  /** Host user that runs QEMU. @default the user of this process */
  readonly user?: HostUser | undefined
}

/**
 * Validates the options against their schema and against this host, before any resource is
 * acquired.
 *
 * @throws {UsageError} INVALID_OPTIONS with all problems at once.
 */
export async function checkOptions(options: VMOptions): Promise<Runner> {
  const problems = findOptionProblems(options)
  const isObject = typeof options === 'object' && options !== null
  const finding = findQemu({
    qemu: typeof options?.qemu === 'string' ? options.qemu : undefined,
    arch: findArch(options?.arch),
  })
  finding.catch(() => {}) // problems of the options are reported first
  const runAs = problems.some(({ path }) => path === 'runAs') ? undefined : options?.runAs
  const found = runAs === undefined ? undefined : await findHostUser(runAs)
  const user = found !== undefined && 'uid' in found ? found : undefined
  if (found !== undefined && !('uid' in found)) problems.push({ path: 'runAs', ...found })
  const hostChecks = isObject
    ? [
        findFileProblems(options),
        findResourceProblems(options, viewHost(user)),
        finding.then((qemu) => findQemuProblems(options, qemu)),
      ]
    : []
  const results = await Promise.allSettled(hostChecks)
  const known = new Set(problems.map(({ path }) => path))
  const more = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const all = [...problems, ...more.filter(({ path }) => !known.has(path))]
  if (all.length > 0) throw optionError(all)
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return { qemu: await finding, user }
}
