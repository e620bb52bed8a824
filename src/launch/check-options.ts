import type { HostUser } from '../common/process/host-user.js'
import { findHostUser } from '../host/host-user.js'
import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type GuestArch, resolveArch } from '../spec/architectures.js'
import { optionSchema } from '../spec/option-schema.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import type { VM } from '../vm/guest/vm.js'
import { findFileProblems, findQemuProblems } from './host-problems.js'
import { findResourceProblems, viewHost } from './host-resources.js'

/** That of the host where another cannot be made out: what is wrong with the option is told first. */
function findArch(arch: unknown): GuestArch {
  const isKnown = typeof arch === 'string' && optionSchema.shape.arch.safeParse(arch).success
  return resolveArch(isKnown ? arch : undefined)
}

/** What runs the guest, and as whom. */
export interface Runner {
  readonly qemu: QemuBinary
  /** Undefined: as who runs this process. */
  readonly user?: HostUser | undefined
}

/** Finds all that is wrong with the options before anything is acquired. Gives what they are for. */
export async function checkOptions(options: VMOptions<VM>): Promise<Runner> {
  const problems = findOptionProblems(options)
  const isObject = typeof options === 'object' && options !== null
  const finding = findQemu({
    qemu: typeof options?.qemu === 'string' ? options.qemu : undefined,
    arch: findArch(options?.arch),
  })
  finding.catch(() => {}) // what is wrong with the options comes first
  const wanted = problems.some(({ path }) => path === 'runAs') ? undefined : options?.runAs
  const found = wanted === undefined ? undefined : await findHostUser(wanted)
  const user = found !== undefined && 'uid' in found ? found : undefined
  if (found !== undefined && !('uid' in found)) problems.push({ path: 'runAs', ...found })
  const ofHost = isObject
    ? [
        findFileProblems(options),
        findResourceProblems(options, viewHost(user)),
        finding.then((qemu) => findQemuProblems(options, qemu)),
      ]
    : []
  const looks = await Promise.allSettled(ofHost)
  const known = new Set(problems.map(({ path }) => path))
  const more = looks.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const all = [...problems, ...more.filter(({ path }) => !known.has(path))]
  if (all.length > 0) throw optionError(all)
  for (const result of looks) if (result.status === 'rejected') throw result.reason
  return { qemu: await finding, user }
}
