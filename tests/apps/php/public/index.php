<?php
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/healthz') {
    echo 'ok';
    return true;
}
session_start();
if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/logout') {
    session_destroy();
    header('Portico-Session-End: 1');
    echo '{}';
    return true;
}
$_SESSION['views'] = ($_SESSION['views'] ?? 0) + 1;
header('Content-Type: application/json');
echo json_encode([
    'views' => $_SESSION['views'],
    'server' => getenv('PORTICO_MEMBER'),
    'release' => getenv('PORTICO_RELEASE'),
    'lost' => $_SERVER['HTTP_PORTICO_SESSION_LOST'] ?? '',
    'client' => $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '',
]);
