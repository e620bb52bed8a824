// Measures `tiny` on other architectures whose QEMU is installed: cold boots and warm starts.
import { access } from 'node:fs/promises'
import { CHANNELS, startOurs } from './measure-warm.mjs'
import { alternate, median, ms, pairedRatio, table } from './statistics.mjs'

const ARCHITECTURES = ['aarch64', 'riscv64', 's390x']

export async function measureArchitectures({ rounds }) {
  const result = {}
  const rows = [['first result of tiny over ssh', 'cold, milliseconds', 'warm', 'speedup']]
  for (const arch of ARCHITECTURES) {
    const program = `/usr/bin/qemu-system-${arch}`
    const isInstalled = await access(program).then(
      () => true,
      () => false,
    )
    if (!isInstalled) {
      console.log(`${arch} is not measured: ${program} is not installed.`)
      continue
    }
    const options = { arch, standby: false, log: () => {} }
    await startOurs(CHANNELS.ssh, options) // builds the image and the template
    const times = { cold: [], warm: [] }
    for (let round = 0; round < Math.max(3, Math.round(rounds / 2)); round++) {
      await alternate(round, [
        async () => times.cold.push(await startOurs(CHANNELS.ssh, { ...options, start: 'cold' })),
        async () => times.warm.push(await startOurs(CHANNELS.ssh, options)),
      ])
    }
    const speedup = pairedRatio(times.cold, times.warm)
    result[arch] = { coldMs: median(times.cold), warmMs: median(times.warm), speedup }
    rows.push([arch, ms(result[arch].coldMs), ms(result[arch].warmMs), `${speedup.toFixed(1)} x`])
  }
  console.log(`${table(rows)}\n`)
  return result
}
