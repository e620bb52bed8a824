import { expect, test } from 'vitest'
import { followBootstrap } from '../../../images/debian/bootstrap-progress.js'

const OUTPUT = `I: running apt-get update...
Get:1 http://deb.debian.org/debian bookworm/main amd64 Packages [8790 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 29.7 MB of archives.
Get:1 http://deb.debian.org/debian bookworm/main amd64 libc6 amd64 2.36-9 [2759 kB]
Get:2 http://deb.debian.org/debian bookworm/main amd64 mawk amd64 1.3.4 [27.1 MB]
I: extracting archives...
Setting up libc6:amd64 (2.36-9) ...
Setting up mawk (1.3.4) ...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Need to get 1024 kB/2048 kB of archives.
Get:1 http://deb.debian.org/debian bookworm/main amd64 dbus amd64 1.14 [1024 kB]
Setting up dbus (1.14) ...
I: creating tarball...
I: success in 84.8199 seconds
`

test.each([1, 7, OUTPUT.length])(
  'the progress of mmdebstrap is read from its output in pieces of %d',
  (size) => {
    const steps: string[] = []
    const read = followBootstrap(
      (step, amount) => void steps.push(amount === undefined ? step : `${step}: ${amount}`),
    )
    for (let at = 0; at < OUTPUT.length; at += size) read(OUTPUT.slice(at, at + size))
    expect(steps).toEqual([
      'reading the package lists',
      'downloading packages: 2.6 MiB of 28.3 MiB',
      'downloading packages: 28.3 MiB of 28.3 MiB',
      'unpacking the base system',
      'installing packages: 1 of 2',
      'installing packages: 2 of 2',
      'downloading packages: 1000 KiB of 1000 KiB',
      'installing packages: 3 of 3',
      'packing the system',
    ])
  },
)
