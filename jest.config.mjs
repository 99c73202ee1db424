// One project a folder; `deploy` is run on demand only (npm run test:deploy). Real services are started once per run, by the projects that need them.
const transform = {
  '^.+\\.(ts|mjs|js)$': [
    '@swc/jest',
    {
      jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
      module: { type: 'commonjs' },
      sourceMaps: 'inline',
    },
  ],
};

const project = (name, services) => ({
  displayName: name,
  rootDir: import.meta.dirname,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: 'node',
  transform,
  // Packages that ship only ES modules are compiled like our own files.
  transformIgnorePatterns: ['/node_modules/(?!(node-pg-migrate|marked)/)', '\\.node$'],
  modulePathIgnorePatterns: [
    '<rootDir>/dist/',
    '<rootDir>/.colloquy/',
    '<rootDir>/inference/native/target/',
  ],
  ...(services
    ? {
        globalSetup: '<rootDir>/test/helpers/global-setup.ts',
        globalTeardown: '<rootDir>/test/helpers/global-teardown.ts',
      }
    : {}),
  ...(name === 'deploy' ? { globalSetup: '<rootDir>/test/helpers/deploy-setup.ts' } : {}),
});

export default {
  projects: [
    project('unit', false),
    project('contract', true),
    project('integration', true),
    project('e2e', true),
    project('deploy', false),
  ],
  // Two cores: unit tests use both, tests against services share one set of them (scripts/test.mjs runs those in band).
  maxWorkers: 2,
  testTimeout: 30_000,
};
