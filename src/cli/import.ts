import { formatAsTest } from '../import/libvirt/format-options.js'
import { readDomain } from '../import/libvirt/read-domain.js'
import { EXIT_CODES } from './exit-code.js'

/** Runs `withvm import`: converts a libvirt domain to options. Its disks need not exist. */
export async function importLibvirt(path: string, flags: { readonly json: boolean }): Promise<number> {
  const domain = await readDomain(path, { image: false, disks: [] })
  const text = flags.json ? `${JSON.stringify(domain, undefined, 2)}\n` : formatAsTest(domain)
  process.stdout.write(text)
  return EXIT_CODES.ok
}
