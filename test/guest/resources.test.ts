import { expect, test } from 'vitest'
import { withVM } from 'withvm'

test('a guest has the specified CPUs, memory and name', async () => {
  await withVM({ image: 'tiny', cpus: 2, memory: '320M', name: 'two-cpus' }, async (vm) => {
    const { stdout } = await vm.ssh("nproc; awk '/MemTotal/ { print $2 }' /proc/meminfo; hostname")
    const [cpus, kilobytes, name] = stdout.split('\n')
    expect({ cpus, name }).toEqual({ cpus: '2', name: 'two-cpus' })
    expect(Number(kilobytes)).toBeGreaterThan(256 * 1024)
    expect(Number(kilobytes)).toBeLessThan(320 * 1024)
  })
})
