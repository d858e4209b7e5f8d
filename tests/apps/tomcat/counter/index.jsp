<%@ page contentType="application/json" trimDirectiveWhitespaces="true" %>
<%
Integer before = (Integer) session.getAttribute("views");
int views = before == null ? 1 : before + 1;
session.setAttribute("views", views);
String lost = request.getHeader("Portico-Session-Lost");
String release = new String(application.getResourceAsStream("/release.txt").readAllBytes()).trim();
%>
{"views":<%= views %>,"server":"<%= System.getProperty("portico.member") %>","release":"<%= release %>","lost":"<%= lost == null ? "" : lost %>"}
