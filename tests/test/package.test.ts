import test from 'ava';
import { type LockPackages, productionClosure } from '../../infra/package/production-closure.ts';

const lock: LockPackages = {
  '': {},
  cli: { dependencies: { '@mesobus/sdk': '1.0.0', table: '1.0.0' } },
  sdk: { dependencies: { log: '1.0.0', '@types/log': '1.0.0' } },
  unused: { dependencies: { table: '1.0.0' } },
  'node_modules/@mesobus/sdk': { link: true, resolved: 'sdk' },
  'node_modules/table': {
    dependencies: { width: '1.0.0' },
    optionalDependencies: { colors: '1.0.0', native: '1.0.0' },
  },
  'node_modules/width': {},
  'node_modules/table/node_modules/width': {},
  'node_modules/colors': { optional: true },
  'node_modules/native': { optional: true, hasInstallScript: true, dependencies: { nan: '1.0.0' } },
  'node_modules/nan': { optional: true },
  'sdk/node_modules/log': { dependencies: { width: '1.0.0' } },
  'node_modules/@types/log': {},
};

test('a package has what its services depend on, resolved as node does, without types and what scripts would build', (t) => {
  t.deepEqual(productionClosure(lock, 'cli'), {
    workspaces: ['cli', 'sdk'],
    installed: [
      'node_modules/colors',
      'node_modules/table',
      'node_modules/table/node_modules/width',
      'node_modules/width',
      'sdk/node_modules/log',
    ],
  });
});

test('a dependency that the lock file lacks is an error that names it', (t) => {
  const error = t.throws(() => productionClosure({ cli: { dependencies: { gone: '1.0.0' } } }, 'cli'));
  t.regex(error.message, /Cannot find 'gone', which cli needs/);
});
