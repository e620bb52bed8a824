import { basename } from 'node:path'
import { findElfEnd, hideElfSection } from '../../src/kernel/elf.js'
import { unpackModule } from '../../src/kernel/kernel-image.js'
import { normalizeModuleName } from '../../src/kernel/kernel-modules.js'
import type { BootModule } from '../guest-parts/initrd.js'

/**
 * Reads the modules of an installed kernel to load first, each after its dependencies. Modules
 * built into the kernel are skipped.
 *
 * @param read reads a file of the system
 */
export async function readBootModules(
  version: string,
  names: readonly string[],
  read: (path: string) => Promise<Buffer>,
): Promise<BootModule[]> {
  const folder = `usr/lib/modules/${version}`
  const needs = parseModulesDep((await read(`${folder}/modules.dep`)).toString())
  const ordered = new Set<string>()
  for (const name of names) {
    const found = [...needs].find(([path]) => normalizeModuleName(path) === name)
    if (found === undefined) continue
    // modules.dep lists the nearest dependency first.
    for (const path of [...found[1]].reverse()) ordered.add(path)
    ordered.add(found[0])
  }
  return Promise.all(
    [...ordered].map(async (path): Promise<BootModule> => {
      const content = await unpackModule(path, await read(`${folder}/${path}`))
      // Removes the signature, whose verification is slow, and the type information, which would
      // make the kernel first parse its own.
      const unsigned = content.subarray(0, findElfEnd(content))
      return {
        fileName: basename(path).replace(/\.(xz|zst)$/, ''),
        content: hideElfSection(unsigned, '.BTF'),
      }
    }),
  )
}

/** Parses modules.dep into the path of each module and its dependencies. */
function parseModulesDep(text: string): Map<string, string[]> {
  const lines = text.split('\n').filter((line) => line.includes(':'))
  return new Map(
    lines.map((line) => {
      const [path = '', rest = ''] = line.split(':', 2)
      return [path, rest.split(' ').filter((word) => word !== '')]
    }),
  )
}
