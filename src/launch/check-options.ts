import { findQemu, type QemuBinary } from '../host/qemu-binary.js'
import { type GuestArch, resolveArch } from '../spec/architectures.js'
import { optionSchema } from '../spec/option-schema.js'
import type { VMOptions } from '../spec/options.js'
import { findOptionProblems, optionError } from '../spec/validate-options.js'
import { findFileProblems, findQemuProblems } from '../vm/host-problems.js'
import { findResourceProblems } from '../vm/host-resources.js'
import type { VM } from '../vm/vm.js'

/** That of the host where another cannot be made out: what is wrong with the option is told first. */
function findArch(arch: unknown): GuestArch {
  const isKnown = typeof arch === 'string' && optionSchema.shape.arch.safeParse(arch).success
  return resolveArch(isKnown ? arch : undefined)
}

/** Finds all that is wrong with the options before anything is acquired. Gives the QEMU that they are for. */
export async function checkOptions(options: VMOptions<VM>): Promise<QemuBinary> {
  const problems = findOptionProblems(options)
  const isObject = typeof options === 'object' && options !== null
  const finding = findQemu({
    qemu: typeof options?.qemu === 'string' ? options.qemu : undefined,
    arch: findArch(options?.arch),
  })
  finding.catch(() => {}) // what is wrong with the options comes first
  const ofHost = isObject
    ? [
        findFileProblems(options),
        findResourceProblems(options),
        finding.then((qemu) => findQemuProblems(options, qemu)),
      ]
    : []
  const found = await Promise.allSettled(ofHost)
  const known = new Set(problems.map(({ path }) => path))
  const more = found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
  const all = [...problems, ...more.filter(({ path }) => !known.has(path))]
  if (all.length > 0) throw optionError(all)
  for (const result of found) if (result.status === 'rejected') throw result.reason
  return finding
}
