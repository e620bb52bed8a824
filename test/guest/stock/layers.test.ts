import { beforeAll, expect, test } from 'vitest'
import { defineImage, type ImageOptions, launchVM } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { startLayersAs } from '../../../src/launch/plan-guest.js'
import { failureOf } from '../../support/failure-of.js'
import { ownCache } from '../../support/own-cache.js'

beforeAll(async () => {
  await resolveImage('debian')
}, 900_000)

async function build(options: ImageOptions) {
  const reports: string[] = []
  const image = defineImage(options)
  await resolveImage(image.source, {
    startLayers: startLayersAs(undefined),
    onProgress: (step) => void reports.push(step),
  })
  return { image, reports, cached: reports.filter((report) => report.endsWith(': cached')) }
}

const UNIT = '[Service]\nExecStart=/usr/local/bin/daemon\n[Install]\nWantedBy=multi-user.target\n'

test('a changed file of a debian image rebuilds the layers from the files up, and no packages', async () => {
  ownCache()
  const options = (answer: string, last: string): ImageOptions => ({
    name: 'daemon',
    files: {
      '/usr/local/bin/daemon': { content: `#!/bin/sh\n# ${answer}\nexec sleep infinity\n`, mode: 0o755 },
      '/etc/systemd/system/daemon.service': UNIT,
    },
    run: [
      // A package whose service would be started, and a process that stays behind.
      'apt-get -qq install -y --no-install-recommends rsync >/dev/null; sleep 1000 &',
      `systemctl -q enable daemon; ls /proc/self/fd /dev/pts/ptmx >/dev/null; ${last}`,
    ],
  })
  const titles = ['packages', 'files', 'run', 'run'].map(
    (label, index) => `layer ${index + 1} of 4 (${label})`,
  )
  const failed = await failureOf(build(options('one', 'echo broken >&2; exit 3')))
  expect(failed.message).toMatch(
    /^A command of `run` of the image daemon failed\.\n {2}Expected: exit code 0\n {2}Got: {6}exit code 3/,
  )
  expect(failed.message).toContain('broken')
  expect(failed.message).toContain('layer 4 of 4 (run) of daemon: run systemctl -q enable daemon')
  const newKernel = await failureOf(build(options('one', 'touch /boot/vmlinuz-9.0')))
  expect(newKernel.message).toContain('Got:      vmlinuz-9.0')
  // The layers below the failed one are kept.
  const built = await build(options('one', 'true'))
  expect(built.cached).toEqual(titles.slice(0, 3).map((title) => `${title}: cached`))
  const edited = await build(options('two', 'true'))
  expect(edited.cached).toEqual([`${titles[0]}: cached`])
  const { image, cached } = await build(options('two', 'true'))
  expect(cached).toEqual(titles.map((title) => `${title}: cached`))
  await using vm = await launchVM({ image, start: 'cold' })
  const { stdout } = await vm.ssh`
    systemctl is-active daemon
    grep -c two /usr/local/bin/daemon
    dpkg-query -W -f '\${Status}\n' rsync
    find /var/lib/apt/lists /var/cache/apt /usr/sbin/policy-rc.d -type f -size +0 2>/dev/null
    systemctl is-system-running --wait
    systemctl --failed --plain --no-legend`
  expect(stdout).toBe('active\n1\ninstall ok installed\nrunning')
}, 900_000)
