// The chat page's files and the headers they carry. The page is a client like any other: it knows only the public API.
import express from 'express';
import type { RequestHandler, Router } from 'express';
import { projectPath } from '../process/paths.ts';

/** Everything comes from here; nothing inline runs; data: is for images that a model wrote out in its text. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Browser modules of two packages, under the paths that web/src imports. */
const VENDOR_FILES: Readonly<Record<string, string>> = {
  '/vendor/marked.js': projectPath('node_modules', 'marked', 'lib', 'marked.esm.js'),
  '/vendor/dompurify.js': projectPath('node_modules', 'dompurify', 'dist', 'purify.es.mjs'),
};

/**
 * Serves the page at `/` and `/c/<conversation>`, its scripts under `/app`, its styles under `/style`. Whatever is not
 * a file of the page falls through to the next router. Files are revalidated at each load: a new version shows at once.
 */
export function createPage(): Router {
  const router = express.Router();
  const options = { index: false, redirect: false, setHeaders: setCacheControl } as const;
  router.use('/app', pageHeaders, express.static(projectPath('dist', 'web', 'src'), options));
  router.use('/style', pageHeaders, express.static(projectPath('web', 'style'), options));
  for (const [path, file] of Object.entries(VENDOR_FILES))
    router.get(path, pageHeaders, send(file, 'text/javascript'));
  router.get('/favicon.svg', pageHeaders, send(projectPath('web', 'favicon.svg'), 'image/svg+xml'));
  router.get(
    ['/', '/c/:conversation'],
    pageHeaders,
    send(projectPath('web', 'index.html'), 'text/html'),
  );
  return router;
}

const pageHeaders: RequestHandler = (_request, response, next) => {
  response.set({
    'Content-Security-Policy': CONTENT_SECURITY_POLICY,
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
  });
  next();
};

function send(file: string, type: string): RequestHandler {
  return (_request, response, next) => {
    response.type(type);
    setCacheControl(response);
    // An error after the headers is a reader who left.
    response.sendFile(file, { cacheControl: false, dotfiles: 'allow' }, (error) => {
      if (error !== undefined && !response.headersSent) next(error);
    });
  };
}

function setCacheControl(response: { setHeader(name: string, value: string): unknown }): void {
  response.setHeader('Cache-Control', 'no-cache');
}
